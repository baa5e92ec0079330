"""The bytes of a tensor in row-major order, in pieces, whatever order they have in the file.

The time grows with the size of the file alone. Where the rows of a large tensor lie across each
other in the file, as those of a transposed weight do, it is read once, in bands of `_WIDE_BYTES`;
each is put in order and written to a temporary file, from which the rows are gathered. Bytes are
written once, and read once again, for each axis that lies across. The file is as large as the
tensor, or twice that if several axes do.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import torch

from convlast.checkpoints.checkpoint import SLICE_BYTES, Checkpoint, Scratch, Storage, tensor_over
from convlast.digests.bands import Bands
from convlast.layout.memory_format import span_of
from convlast.layout.pieces import copy_elements
from convlast.writing.permutation import CARRIER, memory_of

_WIDE_BYTES = 16 << 20
"""What is put in order in memory if rows lie across each other in the file."""

_GAP_BYTES = 1 << 15
"""To read so much for nothing takes as long as to read once more."""


class RowMajor:
    """The tensors of one checkpoint, in memory that is used again; of one thread."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self._scratch = Scratch()
        self._room = torch.empty(0, dtype=torch.uint8)
        self._whole: tuple[Storage, torch.Tensor] | None = None

    def pieces(self, tensor: torch.Tensor) -> Iterator[memoryview]:
        """Yield the bytes of a tensor; a piece is overwritten by the next one.

        Args:
            tensor: The tensor, without data. Conjugated or negated values come as they are seen.

        Raises:
            MalformedCheckpointError: If the file ends inside them, or a member is damaged.
            StorageFullError: If there is no room for a temporary file.
        """
        if not tensor.numel():
            return
        if not self._checkpoint.reads_parts:
            yield from self._copied(self._inflated(tensor))
        elif tensor.is_contiguous() and not (tensor.is_conj() or tensor.is_neg()):
            yield from map(memory_of, self._checkpoint.chunks(tensor))
        else:
            yield from self._read(tensor)

    def _inflated(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return a tensor of a program with its values; a member is kept until another is read."""
        storage = tensor.untyped_storage()
        if self._whole is None or self._whole[0] is not storage:
            self._whole = None  # before the next one is in memory
            self._whole = storage, self._checkpoint.read(bytes_of(storage))
        held = self._whole[1].untyped_storage()
        read = tensor_over(bytearray(), tensor.dtype)
        read.set_(held, tensor.storage_offset(), tensor.shape, tensor.stride())
        if tensor.is_conj():
            read = read.conj()
        return torch._neg_view(read) if tensor.is_neg() else read

    def _copied(self, tensor: torch.Tensor) -> Iterator[memoryview]:
        """Yield what is in memory."""
        if tensor.nbytes > SLICE_BYTES and tensor.dim():
            for part in _cut(tensor, 0, SLICE_BYTES):
                yield from self._copied(part[0] if len(part) == 1 else part)
            return
        copy_elements(self._target(tensor), _bits(tensor))
        yield memory_of(self._room[: tensor.nbytes])

    def _read(self, tensor: torch.Tensor) -> Iterator[memoryview]:
        """Yield what is in the file, in as few reads as that takes."""
        while tensor.dim() and len(tensor) == 1:
            tensor = tensor[0]
        axis = _outermost(tensor)
        is_in_order = axis == 0 or tensor.stride(0) == 0
        if tensor.nbytes <= (SLICE_BYTES if is_in_order else _WIDE_BYTES):
            self._fill(self._target(tensor), tensor)
            yield memory_of(self._room[: tensor.nbytes])
        elif is_in_order:
            for part in _cut(tensor, 0, SLICE_BYTES):
                yield from self._read(part)
        else:
            yield from self._gathered(_cut(tensor, axis, _WIDE_BYTES), axis)

    def _gathered(self, parts: tuple[torch.Tensor, ...], axis: int) -> Iterator[memoryview]:
        with closing(Bands(parts, axis)) as bands:
            for part in parts:
                for piece in self.pieces(part):
                    bands.append(piece)
            yield from map(memory_of, bands.gathered(self._space(_WIDE_BYTES)))

    def _target(self, part: torch.Tensor) -> torch.Tensor:
        return self._space(part.nbytes).view(CARRIER[part.itemsize]).view(part.shape)

    def _space(self, nbytes: int) -> torch.Tensor:
        if self._room.numel() < nbytes:
            self._room = torch.empty(nbytes, dtype=torch.uint8)
        return self._room[:nbytes]

    def _fill(self, target: torch.Tensor, source: torch.Tensor) -> None:
        """Read a part of a tensor, along the axis that lies outermost in the file.

        What lies close together is read at once, with what is between it.
        """
        start, end = span_of(source)
        axis = _outermost(source)
        if source.numel() > 1:
            first, past = span_of(source.narrow(axis, 0, 1))
            each_bytes = source.stride(axis) * source.itemsize
            is_sparse = each_bytes - (past - first) > _GAP_BYTES
            if is_sparse or end - start > SLICE_BYTES:
                most = min(SLICE_BYTES // max(each_bytes, 1), source.shape[axis] // 2)
                step = 1 if is_sparse else max(most, 1)
                for into, part in zip(
                    torch.split(target, step, axis), torch.split(source, step, axis), strict=True
                ):
                    self._fill(into, part)
                return
        copy_elements(target, _bits(self._checkpoint.read(source, self._scratch)))


def bytes_of(storage: Storage) -> torch.Tensor:
    """Return a storage as a flat tensor of its bytes."""
    return torch.empty(0, dtype=torch.uint8).set_(storage, 0, (storage.nbytes(),), (1,))


def planned_bytes(tensor: torch.Tensor) -> int:
    """Return the most that is read for a tensor; a read counts as what could be read meanwhile.

    >>> planned_bytes(torch.zeros(4, 8).t()), planned_bytes(torch.zeros(4, 9000)[:, 5])
    (128, 131088)
    """
    span = planned = tensor.itemsize
    for stride, extent in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        gap = stride * tensor.itemsize - span
        span += stride * (extent - 1) * tensor.itemsize
        is_apart = extent > 1 and not 0 <= gap <= _GAP_BYTES
        planned = (
            extent * (planned + max(min(gap, _GAP_BYTES), 0)) if is_apart else max(span, planned)
        )
    return planned


def _outermost(tensor: torch.Tensor) -> int:
    """Return the axis that lies outermost in the file; the first one if all do alike."""
    axes = [axis for axis, extent in enumerate(tensor.shape) if extent > 1]
    return max(axes, key=tensor.stride, default=0)


def _cut(tensor: torch.Tensor, axis: int, most_bytes: int) -> tuple[torch.Tensor, ...]:
    """Cut a tensor along an axis into parts of so many bytes, or as few as there can be."""
    each_bytes = tensor.nbytes // tensor.shape[axis]
    return torch.split(tensor, max(most_bytes // each_bytes, 1), axis)


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    """Return the bits of a tensor's values, as they are seen."""
    return tensor.resolve_conj().resolve_neg().view(CARRIER[tensor.itemsize])
