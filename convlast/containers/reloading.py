"""A file that was just written, loaded the way its users will load it.

This is the independent half of the proof: nothing of the code that wrote the file, or that
opened the input, takes part in reading it back.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import torch

from convlast.bytes.reclaiming import collecting_seldom
from convlast.checkpoints.checkpoint import (
    CHUNK_BYTES,
    Checkpoint,
    Scratch,
    Storage,
    StoredBytes,
)
from convlast.checkpoints.guard.allowing import known_names_allowed
from convlast.containers.mapping import Mapping
from convlast.errors import UnsupportedContainerError
from convlast.layout.memory_format import span_of


class ReloadedCheckpoint(Checkpoint):
    """A checkpoint whose tensors hold their data, mapped from the file."""

    def read(self, tensor: torch.Tensor, scratch: Scratch | None = None) -> torch.Tensor:
        """Return the tensor itself."""
        return tensor.detach()

    def chunks(self, tensor: torch.Tensor) -> Iterator[torch.Tensor]:
        """Yield the bytes that a tensor spans as flat uint8 pieces, in order."""
        start, end = span_of(tensor)
        storage = tensor.untyped_storage()
        whole = torch.empty(0, dtype=torch.uint8).set_(storage, 0, (storage.nbytes(),), (1,))
        for position in range(start, end, CHUNK_BYTES):
            yield whole[position : min(position + CHUNK_BYTES, end)]


def tensors_of_script(path: Path) -> dict[str, torch.Tensor]:
    """Load a TorchScript archive, which runs it, and return its tensors by name."""
    jit: Any = torch.jit  # whose functions are not annotated
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return dict(jit.load(path, map_location="cpu").state_dict())


def tensors_of_exported_program(path: Path) -> dict[str, torch.Tensor]:
    """Load an exported program, which runs it, and return its tensors by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.load(path)
    tensors = {**program.state_dict, **program.constants}
    return {name: value for name, value in tensors.items() if isinstance(value, torch.Tensor)}


@collecting_seldom()
def reload_torch(path: Path, asks_for: Collection[str]) -> ReloadedCheckpoint:
    """Load a torch zip file with `torch.load`, its data mapped and not read.

    Args:
        path: The file.
        asks_for: The names that torch has to be allowed, as for `known_names_allowed`.

    Raises:
        UnsupportedContainerError: If it holds what torch writes and does not read.
    """
    storages: list[tuple[Storage, str]] = []

    def record(storage: Storage, location: str) -> Storage:
        storages.append((storage, location))
        return storage

    try:
        with known_names_allowed(asks_for):
            # torch hands over an untyped storage, whatever its annotation says.
            root = torch.load(path, weights_only=True, mmap=True, map_location=record)  # type: ignore[arg-type]
    except pickle.UnpicklingError as error:  # a class, for one
        raise UnsupportedContainerError(
            "The checkpoint holds an object that torch.save writes in a way that "
            "torch.load(weights_only=True) does not read.",
            remedy="Save the state dict alone: torch.save(model.state_dict(), path).",
        ) from error
    checkpoint = ReloadedCheckpoint(path, "torch", root)
    mapping = Mapping(path)
    for storage, location in storages:
        offset = mapping.offset_of(storage.data_ptr())
        checkpoint.add(storage, StoredBytes(offset, storage.nbytes(), location))
    return checkpoint
