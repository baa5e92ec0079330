"""The space of each storage in a skeleton, being filled from the input."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch

from convlast.casting import Cast, Casts
from convlast.checkpoints.archive import Archive
from convlast.checkpoints.checkpoint import SLICE_BYTES, Checkpoint, Storage, tensor_over
from convlast.crc import crc32
from convlast.digest import require_crc
from convlast.following import Part
from convlast.memory_format import slices_of
from convlast.permutation import Restriding, permute_all
from convlast.plan import Decision
from convlast.writing.copying import copy_range, copy_with_crc, crc_of, write_exactly
from convlast.writing.parts import Parts
from convlast.writing.skeleton import state_crc

_CLAIM_BYTES = 64 << 10
"""The least member that is checked and compared when the whole file is read, and not alone."""


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
        place = (self._source, self._target, stored.offset, member.offset, stored.nbytes)
        claim = None
        if is_final and stored.nbytes >= _CLAIM_BYTES:
            claim = Part(stored.nbytes, stored.crc, stored.member, stored.offset)
        if claim is not None and claim.crc is not None:
            crc = claim.crc  # believed for now, which spares a pass
            copy_range(*place)
        else:
            crc = copy_with_crc(*place)
            require_crc(stored.member, stored.crc, crc)
        if is_final:
            self._complete(name, crc, claim)

    def convert(
        self, decisions: list[Decision], names: dict[int, str], device: torch.device
    ) -> Iterator[int]:
        """Fill members that are one converted weight each; yield the size of each slice written.

        Args:
            decisions: The weights.
            names: The member that each storage is in, by the storage's id.
            device: Where the weights are permuted.
        """
        crc_before = crc_after = nbytes = 0
        claims = self._claims(decisions, names)
        for storage, before, after in self._write(decisions, names, device):
            crc_before, crc_after = crc32(before, crc_before), crc32(after, crc_after)
            nbytes += len(after)
            yield len(after)
            name, stored = names[id(storage)], self._checkpoint.stored(storage)
            if nbytes == self._skeleton.members[name].nbytes:
                require_crc(stored.member, stored.crc, crc_before)
                self._complete(name, crc_after, claims.get(name))
                crc_before = crc_after = nbytes = 0

    def _claims(self, decisions: list[Decision], names: dict[int, str]) -> dict[str, Part]:
        """Say of each member that is one large weight where it came from, and its order."""
        claims = {}
        for decision in decisions:
            storage = decision.original.untyped_storage()
            stored = self._checkpoint.stored(storage)
            restriding = self._restriding(decision.original, decision.stride_after)
            if restriding.nbytes == stored.nbytes >= _CLAIM_BYTES:
                claim = Part(stored.nbytes, None, stored.member, stored.offset, restriding)
                claims[names[id(storage)]] = claim
        return claims

    def convert_parts(
        self, decisions: list[Decision], names: dict[int, str], device: torch.device
    ) -> None:
        """Write converted weights over parts of members that are filled; as `convert` otherwise."""
        patched = {names[id(storage)] for storage, _, _ in self._write(decisions, names, device)}
        for name in patched:
            member = self._skeleton.members[name]
            self._complete(name, crc_of(self._target, member.offset, member.nbytes))

    def _complete(self, name: str, crc: int, claim: Part | None = None) -> None:
        """Say that a member is filled, and what its CRC is."""
        member = self._skeleton.members[name]
        self.crcs[name] = crc
        state_crc(self._target, member, crc)
        self.parts.add(member.offset, member.nbytes, claim)

    def _write(
        self, decisions: list[Decision], names: dict[int, str], device: torch.device
    ) -> Iterator[tuple[Storage, memoryview, memoryview]]:
        """Write weights in their new order, slice by slice; yield each with its storage."""
        slices = [(d, part) for d in decisions for part in _slices(d)]
        jobs = (
            (self._restriding(part, decision.stride_after), partial(self._read, part))
            for decision, part in slices
        )
        for (decision, part), (before, after) in zip(
            slices, permute_all(jobs, device), strict=True
        ):
            storage = decision.original.untyped_storage()
            itemsize = torch.float16.itemsize if self._is_cast(part) else part.itemsize
            start = int(part.storage_offset()) * itemsize
            write_exactly(
                self._target, after, self._skeleton.members[names[id(storage)]].offset + start
            )
            yield storage, before, after

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


def _slices(decision: Decision) -> list[torch.Tensor]:
    """Cut a weight where both its layouts can be cut."""
    weight = decision.original
    if weight.stride(0) != decision.stride_after[0]:
        return [weight]
    return slices_of(weight, SLICE_BYTES)
