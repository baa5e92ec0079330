"""A temporary file with the bands of a tensor, from which its rows are gathered."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Sequence
from itertools import accumulate

import torch

from convlast.checkpoints.checkpoint import SLICE_BYTES, Scratch, read_exactly, tensor_over
from convlast.errors.full_disk import full_disk_translated
from convlast.layout.pieces import copy_elements


class Bands:
    """The bands that a tensor was cut into across its rows; each is put in order, and appended.

    Args:
        bands: They, in the order of the tensor.
        axis: The axis that was cut.
    """

    def __init__(self, bands: Sequence[torch.Tensor], axis: int) -> None:
        sizes = [band.nbytes for band in bands]
        self._rows = math.prod(bands[0].shape[:axis])
        self._starts = list(accumulate(sizes, initial=0))
        self._widths = [nbytes // self._rows for nbytes in sizes]
        self._scratch = Scratch()
        self._file = tempfile.TemporaryFile(prefix="convlast-", buffering=0)  # noqa: SIM115  # closed by `close`

    def append(self, piece: memoryview) -> None:
        """Write the next bytes of the bands.

        Raises:
            StorageFullError: If there is no room.
        """
        with full_disk_translated(remedy="Free room for the largest tensor (TMPDIR)."):
            while piece:
                piece = piece[self._file.write(piece) :]

    def close(self) -> None:
        """Remove the file."""
        self._file.close()

    def gathered(self, room: torch.Tensor) -> Iterator[torch.Tensor]:
        """Yield the rows, as flat pieces; each is overwritten by the next one.

        Args:
            room: Bytes in which as many rows are gathered as it can hold.
        """
        width = sum(self._widths)
        most = len(room) // width
        if not most:
            for row in range(self._rows):
                yield from self._row(row)
            return
        for row in range(0, self._rows, most):
            count = min(most, self._rows - row)
            rows = room[: count * width].view(count, width)
            at = 0
            for start, band_width in zip(self._starts, self._widths, strict=False):
                part = self._read(start + row * band_width, count * band_width)
                copy_elements(rows[:, at : at + band_width], part.view(count, band_width))
                at += band_width
            yield rows.view(-1)

    def _row(self, row: int) -> Iterator[torch.Tensor]:
        """Yield one row, which is wider than the room."""
        for start, width in zip(self._starts, self._widths, strict=False):
            begin = start + row * width
            for position in range(begin, begin + width, SLICE_BYTES):
                yield self._read(position, min(SLICE_BYTES, begin + width - position))

    def _read(self, offset: int, nbytes: int) -> torch.Tensor:
        buffer = self._scratch.take(nbytes)
        read_exactly(self._file.fileno(), buffer, offset)
        return tensor_over(buffer, torch.uint8)
