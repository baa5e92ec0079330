"""NumPy's scalars and arrays, which trainers store beside a state dict: a loss, a random state.

A scalar is pickled as `scalar(dtype, bytes)`, an array as an empty one that is then given its
shape, dtype and bytes. Only dtypes of one plain number, or of text, are accepted; others can
contain objects, or overlapping fields.
"""

from __future__ import annotations

import math
import re
from importlib.util import find_spec
from typing import Any, TypeAlias

from convlast.checkpoints.guard.outlines import (
    OPAQUE,
    UNKNOWN,
    Array,
    Bytes,
    Global,
    Misuse,
    PlainType,
    Text,
)

SCALAR = {"numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar"}
"""The function that builds a scalar, as NumPy 1 and NumPy 2 name it."""

RECONSTRUCT = {
    "numpy.core.multiarray._reconstruct",
    "numpy._core.multiarray._reconstruct",
}
"""The function that builds an empty array, likewise."""

ARRAY, DTYPE = "numpy.ndarray", "numpy.dtype"

NAMES = SCALAR | RECONSTRUCT | {ARRAY, DTYPE}
"""All names of NumPy that are known here."""

_MAX_DIMENSIONS = 64

_MAX_BYTES = 1 << 63
"""NumPy multiplies extents in 64 bits, even those beside a 0."""

_TEXT = re.compile(r"([US])(0|[1-9]\d{0,5})")
"""Text of a number of characters, or of bytes."""

_TEXT_STATE = {"U": ("<", 4, 8), "S": ("|", 1, 0)}
"""The byte order, alignment and flags of text."""

_TOLD = 8
"""How many characters of a dtype's name a message repeats."""

_CODES = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16")

SafeGlobal: TypeAlias = Any
"""An item for `torch.serialization.safe_globals`: a class or function, or a pair with its name."""


def is_present() -> bool:
    """Say whether NumPy is installed, which this library does not need."""
    return find_spec("numpy") is not None


def dtype(arguments: tuple[object, ...]) -> object:
    """Judge the call of a dtype: it must be one of plain numbers, as NumPy writes it.

    >>> dtype(("f8", False, True)), dtype(("U2", False, True))
    (PlainType(item_bytes=8, kind=''), PlainType(item_bytes=8, kind='U'))
    >>> dtype(("M8", False, True))
    "is 'M8', which is neither a plain number nor text"
    """
    match arguments:
        case (str() as code, int(), int()) if code in _CODES:
            return PlainType(int(code[1:]))
        case (str() as code, int(), int()) if (text := _TEXT.fullmatch(code)) is not None:
            return PlainType(int(text[2]) * (4 if text[1] == "U" else 1), text[1])
        case (str() as code, int(), int()):
            return Misuse(f"is {code[:_TOLD]!r}, which is neither a plain number nor text")
    return UNKNOWN


def misuse_by_type_state(plain: PlainType, state: object) -> Misuse | None:
    """Say what is wrong with the state of a dtype; None if it is of little-endian items."""
    # One state alone: a dtype that was a dict key is not found again after another.
    order = "|" if plain.item_bytes == 1 else "<"
    expected: tuple[object, ...] = (3, order, None, None, None, -1, -1, 0)
    if plain.kind:
        order, alignment, flags = _TEXT_STATE[plain.kind]
        expected = (3, order, None, None, None, plain.item_bytes, alignment, flags)
    if state == expected:
        return None
    return Misuse("is given a state that no dtype of little-endian plain items has")


def scalar(arguments: tuple[object, ...]) -> object:
    """Judge the call of a scalar: a plain item, whose bytes must be as many as its dtype's."""
    match arguments:
        case (PlainType(item_bytes=expected, kind=kind), Bytes(nbytes=found)) if expected == found:
            return Text(found) if kind else OPAQUE
    return UNKNOWN


def empty_array(arguments: tuple[object, ...]) -> object:
    """Judge the call that makes an empty array."""
    match arguments:
        case (Global() as kind, (0,), Bytes(nbytes=1)) if str(kind) == ARRAY:
            return Array()
    return UNKNOWN


def misuse_by_array_state(state: object) -> Misuse | None:
    """Say what is wrong with the state of an array; None if its bytes fit its shape and dtype."""
    match state:
        case (1, tuple() as shape, PlainType(item_bytes=item), bool(), Bytes(nbytes=found)) if (
            len(shape) <= _MAX_DIMENSIONS
            and all(type(extent) is int and extent >= 0 for extent in shape)
            # Of items without bytes there could be any number.
            and 0 < item * math.prod(extent or 1 for extent in shape) < _MAX_BYTES
            and math.prod(shape) * item == found
        ):
            return None
    return Misuse("is given a state that no array of plain items has")


def safe_globals() -> list[SafeGlobal]:
    """Return the names that torch must allow; none if NumPy is not installed."""
    if not is_present():
        return []
    import numpy as np

    # A public way to get these functions; their module's name differs between NumPy versions.
    scalar, empty = np.float64(0).__reduce__()[0], np.zeros(0).__reduce__()[0]
    types = {type(np.dtype(code)) for code in (*_CODES, "U1", "S1")}
    return [
        *((scalar, name) for name in sorted(SCALAR)),
        *((empty, name) for name in sorted(RECONSTRUCT)),
        (np.dtype, DTYPE),
        (np.ndarray, ARRAY),
        *types,
    ]
