"""What was written to a file, read back, and compared with the input that it came from.

Whoever writes a large part does so at once, while both are in the processor's cache. What was
found to be the same is noted by its place in both files: the proof, which asks PyTorch where the
tensors of the written file lie, need not read it again.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from convlast.checkpoints.checkpoint import Scratch, read_exactly, tensor_over
from convlast.layout.pieces import equal_bytes
from convlast.writing.permutation import Restriding

PIECE_BYTES = 1 << 18
"""What is best copied and compared at a time: two of it fit into a core's cache."""


@dataclass(frozen=True)
class Match:
    """Bytes of a file that were read back, and are those of the input.

    Attributes:
        origin: Where they lie in the input.
        offset: Where they lie in the file.
        nbytes: How many there are.
        restriding: The order that the elements have in both; None if the bytes are the same.
    """

    origin: int
    offset: int
    nbytes: int
    restriding: Restriding | None = None


class ReadBack:
    """The reading back of one file, in memory that is used again."""

    def __init__(self, source: int, target: int) -> None:
        """Begin.

        Args:
            source: The input, open, by descriptor.
            target: The file that is being written, likewise.
        """
        self._source, self._target = source, target
        self._before, self._after = Scratch(), Scratch()

    def is_copy(self, origin: int, offset: int, nbytes: int) -> bool:
        """Say whether bytes of the file are the same as bytes of the input.

        Args:
            origin: Where they lie in the input.
            offset: Where they lie in the file.
            nbytes: How many there are.

        Raises:
            MalformedCheckpointError: If either file ends before.
        """
        both = self._read(origin, offset, nbytes)
        return equal_bytes(*(tensor_over(each, torch.uint8) for each in both))

    def is_restrided(self, restriding: Restriding, origin: int, offset: int) -> bool:
        """Say whether the file holds a weight of the input, or a slice of one, in its new order.

        Args:
            restriding: Both orders.
            origin: Where it lies in the input.
            offset: Where it lies in the file.

        Raises:
            MalformedCheckpointError: If either file ends before.
        """
        return restriding.relates(*self._read(origin, offset, restriding.nbytes))

    def _read(self, origin: int, offset: int, nbytes: int) -> tuple[memoryview, memoryview]:
        """Read both files anew: nothing of what the writer had in memory counts."""
        before, after = self._before.take(nbytes), self._after.take(nbytes)
        read_exactly(self._source, before, origin)
        read_exactly(self._target, after, offset)
        return before, after
