"""A program: an input that can be made as long as wanted, and says what it is made of.

Most are put together from parts, some of which stand once, while others share the length out among
themselves: a list of many numbers, say, and then many times what hands it over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

Grown = Callable[[int], bytes]
"""Gives about so many bytes."""


@dataclass(frozen=True)
class Program:
    """An input of any length.

    Attributes:
        told: What it is made of, in words and opcodes.
        grown: Gives it in about so many bytes.
    """

    told: str
    grown: Grown


@dataclass(frozen=True)
class Part:
    """A part of a program.

    Attributes:
        told: What it is.
        fill: Gives about so many bytes of it.
        share: Of the length, against the other parts; 0 if it stands once.
    """

    told: str
    fill: Grown
    share: int = 0


def once(data: bytes) -> Part:
    """Return a part that does not grow."""
    return Part(repr(data)[2:-1], lambda _: data)


def again(data: bytes, share: int = 1) -> Part:
    """Return the same bytes, over and over."""
    return Part(f"[{repr(data)[2:-1]}]*", lambda nbytes: data * max(nbytes // len(data), 1), share)


def numbered(told: str, each: Callable[[int], bytes], share: int = 1) -> Part:
    """Return pieces, each of which is made from its number."""

    def fill(nbytes: int) -> bytes:
        pieces, length = list[bytes](), 0
        while length < nbytes or not pieces:
            pieces.append(each(len(pieces)))
            length += len(pieces[-1])
        return b"".join(pieces)

    return Part(f"[{told}]*", fill, share)


def long(told: str, make: Grown, share: int = 1) -> Part:
    """Return one thing that is as long as wanted."""
    return Part(f"<long {told}>", make, share)


def program(parts: Sequence[Part], around: Callable[[bytes], bytes] = bytes) -> Program:
    """Put parts together, and something around them all, such as the file that they are in."""
    shares = sum(part.share for part in parts)
    fixed_bytes = len(around(b"".join(part.fill(0) for part in parts if not part.share)))

    def grown(nbytes: int) -> bytes:
        each = max(nbytes - fixed_bytes, 0) // max(shares, 1)
        return around(b"".join(part.fill(each * part.share) for part in parts))

    return Program(" ".join(part.told for part in parts), grown)
