"""An opened checkpoint: the objects in it, without their data, and where the data lies.

The tensors of `root` have the right dtype, shape, strides, aliases and attributes, but their
storages were never filled. `storages` says where each storage's bytes lie in the file, so that
a checkpoint larger than memory can be opened, and read one tensor at a time.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import ClassVar, NamedTuple, TypeAlias

import torch

from convlast.checkpoints.declaration import Declaration
from convlast.checkpoints.guard.zip_directory import Archive
from convlast.checkpoints.manifest import Manifest
from convlast.errors import MalformedCheckpointError
from convlast.layout.memory_format import span_of

Storage: TypeAlias = torch.UntypedStorage

SLICE_BYTES = 1 << 20
"""What of one weight is in memory at a time, where its layout allows it to be cut: so little that
it is in the cache still when it is written, read back and compared."""

CHUNK_BYTES = 1 << 20
"""A multiple of every item size; small enough that a processor's cache holds it."""

WHY_LEFT_OUT = (
    "They are sparse, quantized, conjugated or negated lazily, or of a dtype that is not known; or "
    "they share bytes with such a tensor, or the name of another."
)
"""Why tensors of a program are not read."""


class StoredBytes(NamedTuple):
    """Where the bytes of one storage lie in the file.

    Attributes:
        offset: The first byte.
        nbytes: How many there are.
        location: torch's device tag, such as `cpu` or `cuda:0`.
        crc: CRC-32 of the bytes where the file states it.
        member: The name of the archive member, for messages.
    """

    offset: int
    nbytes: int
    location: str = "cpu"
    crc: int | None = None
    member: str = ""


class Scratch:
    """Memory that is used again and again: fresh pages cost as much as filling them."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def take(self, nbytes: int) -> memoryview:
        """Give so many bytes, which hold whatever they held."""
        if len(self._buffer) < nbytes:
            self._buffer = bytearray(nbytes)
        return memoryview(self._buffer)[:nbytes]


@dataclass
class Checkpoint:
    """A file whose structure has been read."""

    path: Path
    container: str
    root: object
    """What `torch.load` would return, with storages that hold no data."""
    storages: dict[int, tuple[Storage, StoredBytes]] = field(default_factory=dict)
    """By the id of the storage object, which is kept alive here."""
    manifest: Manifest | None = None
    """What an earlier conversion left in it."""
    archive: Archive | None = None
    """The directory, for a zip container."""
    holds_strides: bool = True
    """Whether the file has strides of its own; else those in the manifest count."""
    metadata: dict[str, str] = field(default_factory=dict)
    """The metadata of a safetensors file, or of the one that a torch zip file was made from."""
    asks_for: frozenset[str] = frozenset()
    """Names that `torch.load(weights_only=True)` has to be allowed: of `torch.nn`, and NumPy's."""
    declared: dict[tuple[object, ...], Declaration] = field(default_factory=dict)
    """What a program says of its convolutions, by the paths of their weights."""
    left_out: set[str] = field(default_factory=set)
    """The names of the tensors of a program that are not read; `WHY_LEFT_OUT` says why."""

    reads_parts: ClassVar[bool] = True
    """Whether a part of a tensor can be read without the rest."""

    @cached_property
    def descriptor(self) -> int:
        """The file, opened once and closed with the last use of this object."""
        descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, descriptor)
        return descriptor

    def add(self, storage: Storage, stored: StoredBytes) -> None:
        """Say where a storage's bytes lie."""
        self.storages[id(storage)] = (storage, stored)

    def stored(self, storage: Storage) -> StoredBytes:
        """Return where a storage's bytes lie.

        Raises:
            MalformedCheckpointError: If the file does not hold them.
        """
        if id(storage) not in self.storages:
            raise MalformedCheckpointError("A tensor's storage is not among those of the file.")
        return self.storages[id(storage)][1]

    def stride_seen(self, key: object, tensor: torch.Tensor) -> tuple[int, ...]:
        """Return the strides that users of the file see: the tensor's, or the manifest's.

        Args:
            key: Its key in its own state dict.
            tensor: The tensor.
        """
        noted = None
        if not self.holds_strides and self.manifest is not None:
            noted = self.manifest.stride_after(str(key), tuple(tensor.shape))
        return noted or tensor.stride()

    def read(self, tensor: torch.Tensor, scratch: Scratch | None = None) -> torch.Tensor:
        """Return a CPU tensor with the values and strides that the file has for this one.

        Args:
            tensor: The tensor, without data.
            scratch: Memory to put the values into; what was read into it before is overwritten.
        """
        start, end = span_of(tensor)
        buffer = (scratch or Scratch()).take(end - start)
        self.read_into(buffer, tensor)
        read = tensor_over(buffer, tensor.dtype).as_strided(tensor.shape, tensor.stride(), 0)
        if tensor.is_conj():
            read = read.conj()
        return torch._neg_view(read) if tensor.is_neg() else read

    def read_into(self, buffer: memoryview, tensor: torch.Tensor) -> None:
        """Fill a buffer with the bytes that a tensor spans; it must be of their size."""
        start, _ = span_of(tensor)
        offset = self.stored(tensor.untyped_storage()).offset + start
        read_exactly(self.descriptor, buffer, offset)

    def chunks(self, tensor: torch.Tensor) -> Iterator[torch.Tensor]:
        """Yield the bytes that a tensor spans as flat uint8 pieces of bounded size, in order.

        Elements between those of a strided view come too. A piece is overwritten by the next one.
        """
        start, end = span_of(tensor)
        origin = self.stored(tensor.untyped_storage()).offset
        buffer = bytearray(min(CHUNK_BYTES, end - start))
        pieces, view = tensor_over(buffer, torch.uint8), memoryview(buffer)
        for position in range(start, end, CHUNK_BYTES):
            count = min(CHUNK_BYTES, end - position)
            read_exactly(self.descriptor, view[:count], origin + position)
            yield pieces[:count]


def tensor_over(buffer: bytearray | memoryview, dtype: torch.dtype) -> torch.Tensor:
    """Return a flat tensor that shares its memory with the buffer.

    >>> tensor_over(bytearray(8), torch.float32)
    tensor([0., 0.])
    """
    if not buffer:
        return torch.empty(0, dtype=torch.uint8).view(dtype)  # made so, complex32 warns of nothing
    return torch.frombuffer(buffer, dtype=torch.uint8).view(dtype)


def read_exactly(descriptor: int, buffer: memoryview, offset: int) -> None:
    """Fill a buffer from a file, however many reads that takes.

    Raises:
        MalformedCheckpointError: If the file ends before the buffer is full.
    """
    filled = 0
    while filled < len(buffer):
        count = os.preadv(descriptor, [buffer[filled:]], offset + filled)
        if count == 0:
            raise MalformedCheckpointError(
                f"The file ends at byte {offset + filled:,}, inside the data of a tensor."
            )
        filled += count
