"""The storages that a pickle refers to: their classes, their sizes, their devices."""

from __future__ import annotations

from typing import NamedTuple

from convlast.checkpoints.guard.extents import MAX_ELEMENTS
from convlast.checkpoints.guard.outlines import Global
from convlast.errors import MalformedCheckpointError, UnsupportedContainerError

ITEM_BYTES = {
    "BoolStorage": 1,
    "ByteStorage": 1,
    "CharStorage": 1,
    "ShortStorage": 2,
    "HalfStorage": 2,
    "BFloat16Storage": 2,
    "IntStorage": 4,
    "FloatStorage": 4,
    "LongStorage": 8,
    "DoubleStorage": 8,
    "ComplexFloatStorage": 8,
    "ComplexDoubleStorage": 16,
    "QInt8Storage": 1,
    "QUInt8Storage": 1,
    "QInt32Storage": 4,
    "QUInt4x2Storage": 1,
    "QUInt2x4Storage": 1,
    "UntypedStorage": 1,
}
"""The bytes of one element, by the storage class."""

_MAX_TAG = 255
"""The most characters of a key or a device; many references could share the same long one."""


class StorageReference(NamedTuple):
    """A storage that a pickle refers to."""

    key: str
    location: str
    nbytes: int
    item_bytes: int = 1
    is_view: bool = False


def reference_of(identity: object) -> StorageReference:
    """Read `("storage", class, key, location, numel[, view])` as torch's unpickler does.

    A value of another form is not searched: a few bytes can describe a tuple of any size.

    Raises:
        MalformedCheckpointError: If it is anything else.
        UnsupportedContainerError: If it is the source code of a class, as in the legacy format.
    """
    parts = identity if isinstance(identity, tuple) and len(identity) <= 6 else ()
    match parts:
        case (
            "storage" | b"storage",
            Global(name=name),
            str() | bytes() as key,
            str() | bytes() as location,
            int() as numel,
            *rest,
        ) if (
            name in ITEM_BYTES
            and type(numel) is int
            and 0 <= numel < MAX_ELEMENTS
            and len(key) <= _MAX_TAG
            and len(location) <= _MAX_TAG
        ):
            item_bytes = ITEM_BYTES[name]
            is_view = bool(rest) and rest[0] is not None
            return StorageReference(
                _text(key), _text(location), numel * item_bytes, item_bytes, is_view
            )
        case ("module" | b"module", Global() as found, *_):
            raise UnsupportedContainerError(
                f"The checkpoint is a whole module, {found}, in torch's legacy format.",
                remedy="Load it where it came from, and save it anew: as a state dict, or with "
                "torch.save as it is since 1.6.",
            )
    raise MalformedCheckpointError("Its pickle refers to a storage in a way that PyTorch does not.")


def _text(value: str | bytes) -> str:
    return value.decode("ascii", "replace") if isinstance(value, bytes) else value
