"""The space of each storage in a skeleton, being filled from the input."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch

from convlast.bytes.digest import FilePart, crc32, require_crc
from convlast.checkpoints.checkpoint import (
    SLICE_BYTES,
    Checkpoint,
    Storage,
    StoredBytes,
    tensor_over,
)
from convlast.checkpoints.guard.zip_directory import Archive, ZipMember
from convlast.layout.memory_format import slices_of
from convlast.planning.casting import Cast, Casts
from convlast.planning.plan import LayerPlan
from convlast.writing.copying import copy_range, copy_with_crc, crc_of, write_exactly
from convlast.writing.ordered_output import Parts
from convlast.writing.permutation import Restriding, permute_all
from convlast.writing.readback import PIECE_BYTES, Match, ReadBack
from convlast.writing.skeleton import state_crc

_LARGE_BYTES = 64 << 10
"""The least member whose CRC is checked when the whole file is read, and not on its way, and the
least storage or weight that is read back."""

_SLICE_MAX_BYTES = 4 * SLICE_BYTES
"""The largest slice that is read back: one of a weight that can hardly be cut, or not at all."""


class Filling:
    """The space of each storage in a skeleton, being filled."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        skeleton: Archive,
        casts: Casts,
        target: int,
    ) -> None:
        """Begin with nothing filled.

        Args:
            checkpoint: Where the bytes are.
            skeleton: The directory of what is filled.
            casts: What becomes fp16.
            target: The skeleton's file, open for reading and writing.
        """
        self._checkpoint, self._skeleton, self._casts = checkpoint, skeleton, casts
        self._source, self._target = checkpoint.descriptor, target
        self.crcs: dict[str, int] = {}
        """The CRC of each member that is filled."""
        self.parts = Parts(
            member.offset for name, member in skeleton.members.items() if name.startswith("data/")
        )
        """How far the file is final."""
        self.matches: set[Match] = set()
        """What was read back, and found to be the input's."""
        self._made = ReadBack(self._source, target)
        self._differing: set[int] = set()
        """The ids of weights that are not what they should be."""

    def fill(self, name: str, storage: Storage, *, is_final: bool) -> None:
        """Fill one member with a storage as it is, or as fp16.

        Args:
            name: The member.
            storage: What it holds.
            is_final: Whether nothing will be written over parts of it.
        """
        if cast := self._casts.by_target.get(id(storage)):
            crc = self._fill_cast(name, cast)
            if is_final:
                self._complete(name, crc)
            return
        stored, member = self._checkpoint.stored(storage), self._skeleton.members[name]
        if not is_final or stored.nbytes < _LARGE_BYTES:
            crc = copy_with_crc(
                self._source, self._target, stored.offset, member.offset, stored.nbytes
            )
            require_crc(stored.member, stored.crc, crc)
            claim = None
        else:
            # What is stated is believed for now, which spares a pass.
            crc = stored.crc or crc_of(self._source, stored.offset, stored.nbytes)
            claim = FilePart(stored.nbytes, stored.crc, stored.member)
            self._copy(stored, member)
        if is_final:
            self._complete(name, crc, claim)

    def _copy(self, stored: StoredBytes, member: ZipMember) -> None:
        """Copy a large storage, piece by piece, and read it back."""
        is_same = True
        for start in range(0, stored.nbytes, PIECE_BYTES):
            nbytes = min(PIECE_BYTES, stored.nbytes - start)
            origin, offset = stored.offset + start, member.offset + start
            copy_range(self._source, self._target, origin, offset, nbytes)
            is_same = is_same and self._made.is_copy(origin, offset, nbytes)
        if is_same:
            self.matches.add(Match(stored.offset, member.offset, stored.nbytes))

    def convert(
        self, decisions: list[LayerPlan], names: dict[int, str], device: torch.device
    ) -> Iterator[tuple[LayerPlan, int]]:
        """Fill members that are one converted weight each.

        On a GPU one slice is on its way there and back while another one is yielded.

        Args:
            decisions: The weights.
            names: The member that each storage is in, by the storage's id.
            device: Where the weights are permuted.

        Yields:
            The weight, and the size, of each slice that was written.
        """
        crc_before = crc_after = nbytes = 0
        for decision, before, after in self._write(decisions, names, device):
            crc_before, crc_after = crc32(before, crc_before), crc32(after, crc_after)
            nbytes += len(after)
            yield decision, len(after)
            storage = decision.original.untyped_storage()
            name, stored = names[id(storage)], self._checkpoint.stored(storage)
            if nbytes == self._skeleton.members[name].nbytes:
                require_crc(stored.member, stored.crc, crc_before)
                self._complete(name, crc_after)
                crc_before = crc_after = nbytes = 0

    def convert_parts(
        self, decisions: list[LayerPlan], names: dict[int, str], device: torch.device
    ) -> None:
        """Write converted weights over parts of members that are filled; as `convert` otherwise."""
        written = self._write(decisions, names, device)
        patched = {names[id(each.original.untyped_storage())] for each, _, _ in written}
        for name in patched:
            member = self._skeleton.members[name]
            self._complete(name, crc_of(self._target, member.offset, member.nbytes))

    def _complete(self, name: str, crc: int, claim: FilePart | None = None) -> None:
        """Say that a member is filled, and what its CRC is."""
        member = self._skeleton.members[name]
        self.crcs[name] = crc
        state_crc(self._target, member, crc)
        self.parts.add(member.offset, member.nbytes, claim)

    def _write(
        self, decisions: list[LayerPlan], names: dict[int, str], device: torch.device
    ) -> Iterator[tuple[LayerPlan, memoryview, memoryview]]:
        """Write weights in their new order, slice by slice; yield each with its weight."""
        slices = [(d, part) for d in decisions for part in _slices(d)]
        jobs = (
            (self._restriding(part, decision.stride_after), partial(self._read, part))
            for decision, part in slices
        )
        for (decision, part), (before, after) in zip(
            slices, permute_all(jobs, device), strict=True
        ):
            name = names[id(decision.original.untyped_storage())]
            member = self._skeleton.members[name]
            write_exactly(self._target, after, member.offset + self._start_of(part))
            self._read_back(decision, part, member)
            yield decision, before, after

    def _read_back(self, decision: LayerPlan, part: torch.Tensor, member: ZipMember) -> None:
        """Compare a slice of a large weight with what was written; note the weight with its last.

        Args:
            decision: The weight, and its new strides.
            part: The slice, as it was; one too large for the cache is left to the proof.
            member: Where the weight was written.
        """
        weight, after = decision.original, decision.stride_after
        if self._is_cast(weight) or weight.nbytes < _LARGE_BYTES or part.nbytes > _SLICE_MAX_BYTES:
            return
        origin = self._checkpoint.stored(weight.untyped_storage()).offset
        start, first = self._start_of(part), self._start_of(weight)
        restriding = self._restriding(part, after)
        if not self._made.is_restrided(restriding, origin + start, member.offset + start):
            self._differing.add(id(decision))
        is_last = start + part.nbytes == first + weight.nbytes
        if is_last and id(decision) not in self._differing:
            places = origin + first, member.offset + first
            self.matches.add(Match(*places, weight.nbytes, self._restriding(weight, after)))

    def _start_of(self, weight: torch.Tensor) -> int:
        """Return where a weight starts in its storage as it is written, in bytes."""
        itemsize = torch.float16.itemsize if self._is_cast(weight) else weight.itemsize
        return int(weight.storage_offset()) * itemsize

    def _restriding(self, weight: torch.Tensor, after: tuple[int, ...]) -> Restriding:
        itemsize = torch.float16.itemsize if self._is_cast(weight) else weight.itemsize
        return Restriding(tuple(weight.shape), weight.stride(), after, itemsize)

    def _read(self, weight: torch.Tensor, buffer: memoryview) -> None:
        """Read a weight in the order it has, as fp16 where it is cast."""
        if not self._is_cast(weight):
            self._checkpoint.read_into(buffer, weight)
            return
        values = self._checkpoint.read(weight)
        tensor_over(buffer, torch.float16).copy_(values.as_strided((values.numel(),), (1,)))

    def _is_cast(self, weight: torch.Tensor) -> bool:
        return id(weight.untyped_storage()) in self._casts.sources

    def _fill_cast(self, name: str, cast: Cast) -> int:
        """Fill one member with a storage's values as fp16; return the CRC of these."""
        member, stored = self._skeleton.members[name], self._checkpoint.stored(cast.source)
        crc = crc_of(self._source, stored.offset, stored.nbytes)
        require_crc(stored.member, stored.crc, crc)
        values = torch.empty(0, dtype=cast.dtype).set_(
            cast.source, 0, (cast.source.nbytes() // cast.dtype.itemsize,), (1,)
        )
        position, crc = member.offset, 0
        for chunk in self._checkpoint.chunks(values):
            data = bytearray(chunk.numel() // cast.dtype.itemsize * torch.float16.itemsize)
            tensor_over(data, torch.float16).copy_(chunk.view(cast.dtype))
            write_exactly(self._target, memoryview(data), position)
            position, crc = position + len(data), crc32(data, crc)
        return crc


def _slices(decision: LayerPlan) -> list[torch.Tensor]:
    """Cut a weight where both its layouts can be cut."""
    weight = decision.original
    if weight.stride(0) != decision.stride_after[0]:
        return [weight]
    return slices_of(weight, SLICE_BYTES)
