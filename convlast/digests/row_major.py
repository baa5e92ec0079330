"""The bytes of a tensor in row-major order, in pieces, whatever order they have in the file."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from convlast.checkpoints.checkpoint import SLICE_BYTES, Checkpoint, Scratch
from convlast.layout.memory_format import span_of
from convlast.layout.pieces import copy_elements
from convlast.writing.permutation import CARRIER, memory_of

_WIDE_BYTES = 16 << 20
"""What is put in order at a time if rows lie across each other in the file: the more rows, the more
of what is read from one place is used."""

_GAP_BYTES = 1 << 15
"""To read so much for nothing takes as long as to read once more."""


class RowMajor:
    """The tensors of one checkpoint, in memory that is used again; of one thread."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self._scratch = Scratch()
        self._room = torch.empty(0, dtype=torch.uint8)

    def pieces(self, tensor: torch.Tensor) -> Iterator[memoryview]:
        """Yield the bytes of a tensor; a piece is overwritten by the next one.

        Args:
            tensor: The tensor, without data. Conjugated or negated values come as they are seen.

        Raises:
            MalformedCheckpointError: If the file ends inside them, or a member is damaged.
        """
        if not tensor.numel():
            return
        if tensor.is_contiguous() and not (tensor.is_conj() or tensor.is_neg()):
            yield from map(memory_of, self._checkpoint.chunks(tensor))
            return
        is_read = not self._checkpoint.reads_parts
        whole = self._checkpoint.read(tensor) if is_read else tensor
        for part in _parts(whole):
            target = self._target(part)
            if is_read:
                copy_elements(target, _bits(part))
            else:
                self._fill(target, part)
            yield memory_of(self._room[: part.nbytes])

    def _target(self, part: torch.Tensor) -> torch.Tensor:
        if self._room.numel() < part.nbytes:
            self._room = torch.empty(part.nbytes, dtype=torch.uint8)
        return self._room[: part.nbytes].view(CARRIER[part.itemsize]).view(part.shape)

    def _fill(self, target: torch.Tensor, source: torch.Tensor) -> None:
        """Read a part of a tensor, along the axis that lies outermost in the file.

        What lies close together is read at once, with what is between it.
        """
        axes = [axis for axis, extent in enumerate(source.shape) if extent > 1]
        start, end = span_of(source)
        if axes:
            axis = max(axes, key=source.stride)
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


def _parts(tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    """Cut a tensor into parts of bounded size that follow each other in row-major order."""
    is_outermost = tensor.dim() > 0 and tensor.stride(0) == max(tensor.stride())
    most_bytes = SLICE_BYTES if is_outermost else _WIDE_BYTES
    if tensor.dim() == 0 or tensor.nbytes <= most_bytes:
        yield tensor
        return
    row_bytes = tensor.nbytes // len(tensor)
    if row_bytes <= most_bytes:
        yield from torch.split(tensor, most_bytes // row_bytes)
        return
    for row in tensor.unbind():
        yield from _parts(row)


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    """Return the bits of a tensor's values, as they are seen."""
    return tensor.resolve_conj().resolve_neg().view(CARRIER[tensor.itemsize])
