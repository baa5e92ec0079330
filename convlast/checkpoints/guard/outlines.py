"""What stands on the stack of a pickle machine that builds nothing: the outlines of objects.

A list or dict is shared by all that refer to it, as in the pickle itself, so that what is put
into it later is seen everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from convlast.errors import MalformedCheckpointError


@dataclass(frozen=True)
class Global:
    """A name that a pickle asks the unpickler to import."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


MARK = object()
TENSOR = object()
STORAGE = object()
OPAQUE = object()
"""Stands for whatever is none of the others: a set, a device, the result of a call."""


class Misuse(str):
    """What is wrong with a call or a state, in words; stands for what it would have given."""

    __slots__ = ()


UNKNOWN = Misuse("is called with other arguments than torch.save writes")


def last_mark(stack: list[object]) -> int:
    """Return where the last group on a stack begins.

    Raises:
        MalformedCheckpointError: If none does.
    """
    for index in range(len(stack) - 1, -1, -1):
        if stack[index] is MARK:
            return index
    raise MalformedCheckpointError("Its pickle closes a group that it did not open.")


@dataclass(eq=False, slots=True)
class List:
    """A list, with all that was ever put into it."""

    items: list[object] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class Dict:
    """A dict or OrderedDict, with every pair that was ever put into it.

    A later value does not replace an earlier one here: the earlier one was there to be used.
    """

    pairs: list[tuple[object, object]] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class Set:
    """A set, with the list that it was made of."""

    items: list[object]


@dataclass(eq=False, slots=True)
class Instance:
    """An object of a class of `torch.nn`, with the states it was given."""

    name: str
    states: list[object] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class Bytes:
    """So many bytes, which protocol 2 writes as a call."""

    nbytes: int


@dataclass(eq=False, slots=True)
class NumberType:
    """A `numpy.dtype` of plain numbers, of so many bytes each."""

    item_bytes: int
