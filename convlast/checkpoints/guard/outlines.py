"""The outlines of objects, on the stack of a pickle machine that builds nothing.

All references to a list or dict share one outline, as in the pickle itself, so an element that is
added later is seen everywhere.
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
"""Stands for any other object, such as a device, or the result of a call."""


class Misuse(str):
    """What is wrong with a call or a state, in words; takes the place of the result."""

    __slots__ = ()


UNKNOWN = Misuse("is called with other arguments than torch.save writes")


def last_mark(stack: list[object]) -> int:
    """Return the index of the last mark on a stack.

    Raises:
        MalformedCheckpointError: If there is no mark.
    """
    for index in range(len(stack) - 1, -1, -1):
        if stack[index] is MARK:
            return index
    raise MalformedCheckpointError("Its pickle closes a group that it did not open.")


@dataclass(eq=False, slots=True)
class List:
    """A list, with every element that was ever put into it."""

    items: list[object] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class Dict:
    """A dict or OrderedDict, with every pair that was ever put into it.

    A later value does not replace an earlier one here, because the earlier one could be used.
    """

    pairs: list[tuple[object, object]] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class Set:
    """A set, with the list that it was made from."""

    items: list[object]


@dataclass(eq=False, slots=True)
class Instance:
    """An object of a class of `torch.nn`, with the states it was given."""

    name: str
    states: list[object] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class Bytes:
    """A bytes object of this size, which protocol 2 writes as a call.

    Attributes:
        nbytes: Its size.
        start: The first of it, as many as a date has.
    """

    nbytes: int
    start: bytes = b""


@dataclass(eq=False, slots=True)
class Text:
    """An object that is made of text and takes as long to compare: a path, or text of NumPy's."""

    length: int


@dataclass(eq=False, slots=True)
class Exact:
    """A fraction or a decimal number: slow to compare, with a hash that a file can choose."""


@dataclass(eq=False, slots=True)
class Record:
    """An object of a class that holds attributes only, with the states it was given."""

    name: str
    states: list[object] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class Array:
    """A `numpy.ndarray`, which gets its shape, its dtype and its bytes as a state."""


@dataclass(frozen=True)
class PlainType:
    """A `numpy.dtype` of plain numbers, or of text.

    Attributes:
        item_bytes: The size of an item.
        kind: `U` for text, `S` for bytes, and empty for numbers.
    """

    item_bytes: int
    kind: str = ""
