"""torch's legacy format, as `torch.save` wrote it until 1.6: five pickles, then raw storages.

magic number · protocol · system · the objects · the storage keys · for each key, in that
order: its number of elements in eight bytes, and the elements
"""

from __future__ import annotations

import pickletools
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

import torch

from convlast.checkpoints.checkpoint import Checkpoint, StoredBytes
from convlast.checkpoints.guard.pickles import Scan, scan
from convlast.checkpoints.guard.storages import StorageReference
from convlast.checkpoints.structure import load_structure, refuse_unloadable
from convlast.checkpoints.tree import walk
from convlast.errors import (
    LimitExceededError,
    MalformedCheckpointError,
    UnsupportedContainerError,
)
from convlast.options import Limits


def open_torch_legacy(path: Path, limits: Limits) -> Checkpoint:
    """Open a legacy torch checkpoint without reading its data.

    Raises:
        CheckpointError: One of its kinds, if the file cannot be opened or must not be.
    """
    with path.open("rb") as file:
        for _ in range(4):  # magic number, protocol, system, and then the objects
            objects = scan(_bounded(file, limits))
            refuse_unloadable(objects, limits)
        keys = _read_keys(_bounded(file, limits))
        stored = dict(_read_storages(file, objects, keys, path.stat().st_size))
    root, pairs = load_structure(path, objects.storages, objects.asks_for, legacy=True)
    checkpoint = Checkpoint(path, "torch-legacy", root, asks_for=objects.asks_for)
    for storage, reference in pairs:
        checkpoint.add(storage, stored[reference.key])
    empty = [stored[reference.key] for reference in objects.storages if not reference.nbytes]
    if len(empty) > 1 and len({each.location for each in empty}) == 1:
        _add_empty(checkpoint, empty[0], limits)
    return checkpoint


def _add_empty(checkpoint: Checkpoint, stored: StoredBytes, limits: Limits) -> None:
    """Add the storages that torch makes for further references to empty ones, and tells nobody."""
    for entry in walk(checkpoint.root, limits, keep_originals=False):
        value = entry.value
        storage = value.untyped_storage() if isinstance(value, torch.Tensor) else value
        if not storage.nbytes() and id(storage) not in checkpoint.storages:
            checkpoint.add(storage, stored)


class _Bounded:
    """A file in which a pickle may be read that is not larger than a limit.

    A pickle states the lengths of its texts, and memory is set aside for what is asked of a file.
    """

    def __init__(self, file: IO[bytes], limits: Limits) -> None:
        self.tell = file.tell
        self._file, self._allowed, self._done = file, limits.max_pickle_bytes, 0

    def read(self, nbytes: int) -> bytes:
        return self._counted(self._file.read(min(nbytes, self._allowed - self._done + 1)))

    def readline(self) -> bytes:
        return self._counted(self._file.readline(self._allowed - self._done + 1))

    def _counted(self, data: bytes) -> bytes:
        self._done += len(data)
        if self._done > self._allowed:
            raise LimitExceededError(
                "The checkpoint's pickle is large",
                limit="max_pickle_bytes",
                allowed=self._allowed,
                found=self._done,
            )
        return data


def _bounded(file: IO[bytes], limits: Limits) -> IO[bytes]:
    """Return as much of a file as pickletools needs."""
    return cast("IO[bytes]", _Bounded(file, limits))


def _read_storages(
    file: IO[bytes], objects: Scan, keys: list[str], file_bytes: int
) -> Iterator[tuple[str, StoredBytes]]:
    """Walk over the storages behind the pickles, and check that each fits its reference."""
    references: dict[str, StorageReference] = {}
    for reference in objects.storages:
        if references.setdefault(reference.key, reference).nbytes != reference.nbytes:
            raise MalformedCheckpointError(f"Storage {reference.key} has two sizes.")
    if any(reference.is_view for reference in objects.storages):
        raise UnsupportedContainerError(
            "The checkpoint holds views of storages, as PyTorch wrote them until 0.3.",
            remedy="Load it with torch.load, and save it anew.",
        )
    if set(keys) != set(references) or len(keys) != len(references):
        raise MalformedCheckpointError("The list of storages is not that of the tensors.")
    for key in keys:
        reference = references[key]
        count = file.read(8)
        offset = file.tell()
        if len(count) < 8 or offset + reference.nbytes > file_bytes:
            raise MalformedCheckpointError(
                f"The file ends at byte {file_bytes:,}, in storage {key}."
            )
        numel = struct.unpack("<q", count)[0]
        if numel * reference.item_bytes != reference.nbytes:
            raise MalformedCheckpointError(f"Storage {key} has another size than its tensors say.")
        yield (
            key,
            StoredBytes(offset, reference.nbytes, reference.location, member=f"storage {key}"),
        )
        file.seek(reference.nbytes, 1)


_LIST = {
    *("PROTO", "FRAME", "STOP"),
    *("EMPTY_LIST", "LIST", "MARK", "APPEND", "APPENDS"),
    *("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"),
}
"""The opcodes of a list, beside those of what is in it."""


def _read_keys(file: IO[bytes]) -> list[str]:
    """Read a pickled list of strings, opcode by opcode."""
    keys: list[str] = []
    try:
        for opcode, arg, _ in pickletools.genops(file):
            if "UNICODE" in opcode.name or "STRING" in opcode.name:
                keys.append(arg.decode("ascii") if isinstance(arg, bytes) else str(arg))
            elif opcode.name not in _LIST:
                raise MalformedCheckpointError(
                    f"The list of storages holds more than their names: {opcode.name}."
                )
    except (ValueError, IndexError) as error:
        raise MalformedCheckpointError(
            f"The list of storages cannot be read: {str(error)[:200]}."
        ) from error
    return keys
