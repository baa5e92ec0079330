"""What the calls in a TorchScript pickle make: tensors that are read, and those that are not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from convlast.checkpoints.guard.extents import refuse_extents
from convlast.checkpoints.guard.outlines import Global

_TENSOR = Global("torch._utils", "_rebuild_tensor_v2")
_PLAIN_ARGUMENTS = 6
"""One more says that the values are conjugated or negated when they are read."""

_MOST_ARGUMENTS = 8
"""Of a call that makes a tensor. Many calls may share a tuple, which may be as long as the file."""


@dataclass(eq=False)
class Storage:
    """A storage, as a pickle refers to it."""

    type_name: str
    key: str
    location: str
    numel: int


@dataclass(eq=False)
class Tensor:
    """A tensor, as a pickle describes it.

    Attributes:
        storage: The storage of its elements.
        offset: Its offset in the storage, in elements.
        shape: Its extents.
        stride: Its strides, in elements.
        span: Where in the pickle the strides are written.
    """

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    span: tuple[int, int]

    @property
    def storages(self) -> tuple[Storage, ...]:
        """Its only storage."""
        return (self.storage,)


@dataclass(eq=False)
class Unread:
    """A tensor that is not its bytes alone: sparse, quantized, or conjugated or negated lazily.

    Attributes:
        storages: Those of all that it is made of.
    """

    storages: tuple[Storage, ...]


class Group(tuple[Any, ...]):
    """A tuple, with the position of its elements in the pickle."""

    span: tuple[int, int]


@dataclass(eq=False)
class Call:
    """The unknown result of a call, such as a list with its type; its arguments are searched."""

    arguments: object


def made_by(called: object, arguments: object) -> Tensor | Unread | Call:
    """Return what a call makes."""
    if not isinstance(called, Global) or called.module != _TENSOR.module:
        return Call(arguments)
    if not isinstance(arguments, tuple):
        return Unread(())
    if called == _TENSOR and len(arguments) == _PLAIN_ARGUMENTS:
        match arguments[:4]:
            case (Storage() as storage, int() as offset, Group() as shape, Group() as stride):
                refuse_extents(shape, stride, offset)
                return Tensor(storage, offset, tuple(shape), tuple(stride), stride.span)
    return Unread(tuple(_storages(arguments)))


def _storages(arguments: tuple[object, ...]) -> Iterator[Storage]:
    """Yield the storages among arguments, and in the tuples and tensors among them."""
    for argument in arguments[:_MOST_ARGUMENTS]:
        for part in argument[:_MOST_ARGUMENTS] if isinstance(argument, tuple) else (argument,):
            if isinstance(part, Storage):
                yield part
            elif isinstance(part, Tensor | Unread):
                yield from part.storages
