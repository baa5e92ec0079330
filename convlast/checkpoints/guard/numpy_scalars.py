"""NumPy's scalars, which trainers store beside a state dict: a loss, a best score.

Such a number is pickled as `scalar(dtype, bytes)`. Only dtypes of one plain number are accepted;
others can contain objects, or overlapping fields.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, TypeAlias

from convlast.checkpoints.guard.outlines import OPAQUE, UNKNOWN, Bytes, Misuse, NumberType

SCALAR = {"numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar"}
"""The function that builds a scalar, as NumPy 1 and NumPy 2 name it."""

DTYPE = "numpy.dtype"

_CODES = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16")

SafeGlobal: TypeAlias = Any
"""An item for `torch.serialization.safe_globals`: a class or function, or a pair with its name."""


def is_present() -> bool:
    """Say whether NumPy is installed, which this library does not need."""
    return find_spec("numpy") is not None


def dtype(arguments: tuple[object, ...]) -> object:
    """Judge the call of a dtype: it must be one of plain numbers, as NumPy writes it.

    >>> dtype(("f8", False, True)), dtype(("O8", False, True))
    (NumberType(item_bytes=8), 'is called with other arguments than torch.save writes')
    """
    match arguments:
        case (str() as code, int(), int()) if code in _CODES:
            return NumberType(int(code[1:]))
    return UNKNOWN


def misuse_by_state(state: object) -> Misuse | None:
    """Say what is wrong with the state of a dtype; None if it is of little-endian numbers."""
    match state:
        case (3, "<" | "|", None, None, None, -1, -1, 0):
            return None
    return Misuse("is given a state that no dtype of plain numbers has")


def scalar(arguments: tuple[object, ...]) -> object:
    """Judge the call of a scalar: a plain number, whose bytes must be as many as its dtype's."""
    match arguments:
        case (NumberType(item_bytes=expected), Bytes(nbytes=found)) if expected == found:
            return OPAQUE
    return UNKNOWN


def safe_globals() -> list[SafeGlobal]:
    """Return the names that torch must allow for a scalar; none if NumPy is not installed."""
    if not is_present():
        return []
    import numpy as np

    # A public way to get this function; its module's name differs between NumPy versions.
    scalar = np.float64(0).__reduce__()[0]
    types = {type(np.dtype(code)) for code in _CODES}
    return [*((scalar, name) for name in sorted(SCALAR)), (np.dtype, DTYPE), *types]
