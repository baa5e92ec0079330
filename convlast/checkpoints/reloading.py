"""A file that was just written, loaded the way its users will load it.

This is the independent half of the proof: nothing of the code that wrote the file, or that
opened the input, takes part in reading it back.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from convlast.checkpoints.allowing import known_names_allowed
from convlast.checkpoints.checkpoint import CHUNK_BYTES, Checkpoint, Storage, StoredBytes
from convlast.memory_format import span_of


class ReloadedCheckpoint(Checkpoint):
    """A checkpoint whose tensors hold their data, mapped from the file."""

    def read(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return the tensor itself."""
        return tensor.detach()

    def chunks(self, tensor: torch.Tensor) -> Iterator[torch.Tensor]:
        """Yield the bytes that a tensor spans as flat uint8 pieces, in order."""
        start, end = span_of(tensor)
        storage = tensor.untyped_storage()
        whole = torch.empty(0, dtype=torch.uint8).set_(storage, 0, (storage.nbytes(),), (1,))
        for position in range(start, end, CHUNK_BYTES):
            yield whole[position : min(position + CHUNK_BYTES, end)]


def reload_torch(path: Path) -> ReloadedCheckpoint:
    """Load a torch zip file with `torch.load`, its data mapped and not read."""
    storages: list[tuple[Storage, str]] = []

    def record(storage: Storage, location: str) -> Storage:
        storages.append((storage, location))
        return storage

    with known_names_allowed():
        # torch hands over an untyped storage, whatever its annotation says.
        root = torch.load(path, weights_only=True, mmap=True, map_location=record)  # type: ignore[arg-type]
    checkpoint = ReloadedCheckpoint(path, "torch", root)
    for storage, location in storages:
        checkpoint.add(storage, StoredBytes(0, storage.nbytes(), location))
    return checkpoint
