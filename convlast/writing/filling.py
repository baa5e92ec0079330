"""The spaces of a skeleton, being filled from the input."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from itertools import groupby
from typing import NamedTuple

import torch

from convlast.bytes.digest import FilePart, crc32, require_crc
from convlast.checkpoints.checkpoint import SLICE_BYTES, Checkpoint, tensor_over
from convlast.layout.memory_format import slices_of
from convlast.planning.casting import Cast
from convlast.planning.plan import LayerPlan
from convlast.writing.copying import copy_range, copy_with_crc, crc_of, write_exactly
from convlast.writing.ordered_output import Parts
from convlast.writing.permutation import permute_all
from convlast.writing.readback import PIECE_BYTES, Match, ReadBack
from convlast.writing.skeleton import state_crc
from convlast.writing.spaces import Space

_LARGE_BYTES = 64 << 10
"""The least member whose CRC is checked when the whole file is read, and not on its way, and the
least storage or weight that is read back."""

_SLICE_MAX_BYTES = 4 * SLICE_BYTES
"""The largest slice that is read back. A weight that can hardly be cut has larger ones."""


class _Slice(NamedTuple):
    """A slice of a weight that was written, with its bytes in both orders."""

    space: Space
    before: memoryview
    after: memoryview


class Filling:
    """A skeleton whose spaces are being filled."""

    def __init__(self, checkpoint: Checkpoint, spaces: list[Space], target: int) -> None:
        """Begin with nothing filled.

        Args:
            checkpoint: The source.
            spaces: The spaces.
            target: The descriptor of the skeleton's file, open for reading and writing.
        """
        self._checkpoint = checkpoint
        self._source, self._target = checkpoint.descriptor, target
        self.crcs: dict[str, int] = {}
        """The CRC of each member that is filled."""
        self.parts = Parts(space.member.offset for space in spaces)
        """How far the file is final."""
        self.matches: set[Match] = set()
        """The parts that were read back and equal the input's."""
        self._made = ReadBack(self._source, target)

    def copy(self, space: Space) -> None:
        """Fill a space with its storage, cast if it is; `convert_parts` completes some of them."""
        stored, claim = space.stored, None
        if space.cast is not None:
            crc = self._copy_cast(space, space.cast)
        elif space.weights or stored.nbytes < _LARGE_BYTES:
            crc = copy_with_crc(
                self._source, self._target, stored.offset, space.member.offset, stored.nbytes
            )
            require_crc(stored.member, stored.crc, crc)
        else:
            # The stated CRC is believed for now, which spares a pass.
            crc = stored.crc or crc_of(self._source, stored.offset, stored.nbytes)
            claim = FilePart(stored.nbytes, stored.crc, stored.member)
            self._copy_large(space)
        if not space.weights:
            self._complete(space, crc, claim)

    def convert(
        self, spaces: list[Space], device: torch.device, advance: Callable[[Space, int], None]
    ) -> None:
        """Fill spaces that are one weight each.

        Args:
            spaces: The spaces.
            device: Where the weights are permuted.
            advance: Called with the space and the size of each slice that was written. On a GPU the
                next slice is on its way meanwhile.
        """
        for space, slices in groupby(self._write(spaces, device), key=lambda each: each.space):
            crc_before = crc_after = 0
            for _, before, after in slices:
                crc_before, crc_after = crc32(before, crc_before), crc32(after, crc_after)
                advance(space, len(after))
            require_crc(space.stored.member, space.stored.crc, crc_before)
            self._complete(space, crc_after)

    def convert_parts(self, spaces: list[Space], device: torch.device) -> None:
        """Write the weights in spaces that `copy` has filled, and complete these.

        Args:
            spaces: The spaces.
            device: Where the weights are permuted.
        """
        for space, slices in groupby(self._write(spaces, device), key=lambda each: each.space):
            deque(slices, maxlen=0)  # each is written when it is taken
            member = space.member
            self._complete(space, crc_of(self._target, member.offset, member.nbytes))

    def _copy_large(self, space: Space) -> None:
        """Copy a large storage piece by piece, and read it back."""
        stored, is_same = space.stored, True
        for start in range(0, stored.nbytes, PIECE_BYTES):
            nbytes = min(PIECE_BYTES, stored.nbytes - start)
            origin, offset = stored.offset + start, space.member.offset + start
            copy_range(self._source, self._target, origin, offset, nbytes)
            is_same = is_same and self._made.is_copy(origin, offset, nbytes)
        if is_same:
            self.matches.add(Match(stored.offset, space.member.offset, stored.nbytes))

    def _copy_cast(self, space: Space, cast: Cast) -> int:
        """Fill a space with a storage's values in their new dtype; return the CRC of these."""
        stored = space.stored
        require_crc(stored.member, stored.crc, crc_of(self._source, stored.offset, stored.nbytes))
        numel = cast.source.nbytes() // cast.source_dtype.itemsize
        values = torch.empty(0, dtype=cast.source_dtype).set_(cast.source, 0, (numel,), (1,))
        position, crc = space.member.offset, 0
        for chunk in self._checkpoint.chunks(values):
            data = bytearray(chunk.numel() // cast.source_dtype.itemsize * cast.dtype.itemsize)
            tensor_over(data, cast.dtype).copy_(chunk.view(cast.source_dtype))
            write_exactly(self._target, memoryview(data), position)
            position, crc = position + len(data), crc32(data, crc)
        return crc

    def _complete(self, space: Space, crc: int, claim: FilePart | None = None) -> None:
        """Note that a space is filled, and state the CRC of what is in it."""
        self.crcs[space.name] = crc
        state_crc(self._target, space.member, crc)
        self.parts.add(space.member.offset, space.member.nbytes, claim)

    def _write(self, spaces: list[Space], device: torch.device) -> Iterator[_Slice]:
        """Write the weights of spaces in their new order, slice by slice, and read them back."""
        cuts = [(space, each, _slices(each)) for space in spaces for each in space.weights]
        permuted = permute_all(
            (
                (space.restriding(part, weight.stride_after), partial(self._read, space, part))
                for space, weight, parts in cuts
                for part in parts
            ),
            device,
        )
        for space, weight, parts in cuts:
            is_same = self._is_read_back(space, weight)
            for part in parts:
                before, after = next(permuted)
                write_exactly(self._target, after, space.offset_of(part))
                is_same = is_same and self._is_restrided(space, weight, part)
                yield _Slice(space, before, after)
            if is_same:
                self.matches.add(_match(space, weight))

    def _is_read_back(self, space: Space, weight: LayerPlan) -> bool:
        """Return whether a weight is read back: a large one whose bytes only change places."""
        return space.cast is None and weight.original.nbytes >= _LARGE_BYTES

    def _is_restrided(self, space: Space, weight: LayerPlan, part: torch.Tensor) -> bool:
        """Compare a slice with what was written; the proof reads one too large for the cache."""
        if part.nbytes > _SLICE_MAX_BYTES:
            return False
        origin = space.stored.offset + space.start_of(part)
        restriding = space.restriding(part, weight.stride_after)
        return self._made.is_restrided(restriding, origin, space.offset_of(part))

    def _read(self, space: Space, weight: torch.Tensor, buffer: memoryview) -> None:
        """Read a weight, or a slice of one, in the order it has, and in its new dtype."""
        if space.cast is None:
            self._checkpoint.read_into(buffer, weight)
            return
        values = self._checkpoint.read(weight)
        tensor_over(buffer, space.cast.dtype).copy_(values.as_strided((values.numel(),), (1,)))


def _match(space: Space, weight: LayerPlan) -> Match:
    """Return where a weight that was read back lies in both files, and in which orders."""
    original = weight.original
    origin = space.stored.offset + space.start_of(original)
    restriding = space.restriding(original, weight.stride_after)
    return Match(origin, space.offset_of(original), original.nbytes, restriding)


def _slices(weight: LayerPlan) -> list[torch.Tensor]:
    """Cut a weight where both its layouts can be cut."""
    original = weight.original
    if original.stride(0) != weight.stride_after[0]:
        return [original]
    return slices_of(original, SLICE_BYTES)
