"""What the calls in a TorchScript pickle make: tensors that are read, and those that are not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from convlast.checkpoints.guard.extents import refuse_extents
from convlast.checkpoints.guard.outlines import Global

_TENSOR = Global("torch._utils", "_rebuild_tensor_v2")
_TYPED = "torch.jit._pickle"
"""Its functions return their first argument, a list or dict; the other one names its type."""

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
    """The unknown result of a call; only the arguments are searched."""

    arguments: object


def made_by(called: object, arguments: object) -> object:
    """Return what a call makes."""
    if not isinstance(called, Global) or not isinstance(arguments, tuple):
        return Call(arguments)
    if called.module == _TYPED:
        return arguments[0]
    if called.module != _TENSOR.module:
        return Call(arguments)
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
                yield from part.storages[:1]  # all that a part has; a hostile one may hold others
