"""A converted checkpoint as a torch zip file, written as a stream.

Storages that do not change go from file to file inside the kernel. Only convolution weights
pass through memory, one at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import IO

import torch

from convlast.casting import Cast, Casts
from convlast.checkpoints import manifest as manifests
from convlast.checkpoints.archive import Archive, read_directory
from convlast.checkpoints.checkpoint import (
    SLICE_BYTES,
    Checkpoint,
    Storage,
    StoredBytes,
    tensor_over,
)
from convlast.crc import crc32
from convlast.errors import MalformedCheckpointError
from convlast.memory_format import slices_of
from convlast.options import Limits
from convlast.permutation import Restriding, permute_all
from convlast.plan import Decision, Plan
from convlast.progress import Portions, Progress
from convlast.writing.copying import copy_range, crc_of, write_exactly
from convlast.writing.skeleton import finish, write_skeleton

WRITTEN_BY_TORCH = {
    "data.pkl",
    "version",
    "byteorder",
    ".format_version",
    ".storage_alignment",
    ".data/serialization_id",
    manifests.MEMBER,
}


def write_torch(
    checkpoint: Checkpoint,
    plan: Plan,
    folder: Path,
    device: torch.device,
    progress: Progress,
    casts: Casts,
) -> Path:
    """Write a checkpoint, whose tensors have their new strides, as a torch zip file.

    Returns:
        The file, in the folder.

    Raises:
        StorageFullError: If there is no room.
        MalformedCheckpointError: If the data does not have the CRC that the input states.
    """
    path, storages = write_skeleton(checkpoint, folder)
    skeleton = read_directory(path, Limits(max_members=len(storages) + 100))
    with checkpoint.path.open("rb") as source, path.open("r+b") as target:
        filling = _Filling(checkpoint, skeleton, casts, source, target)
        portions = Portions(progress, "write", sum(storage.nbytes() for storage in storages))
        _fill(filling, storages, plan, casts, device, portions)
    finish(skeleton, filling.crcs, _extras(checkpoint, plan))
    return path


def _fill(  # what is written, and how
    filling: _Filling,
    storages: list[Storage],
    plan: Plan,
    casts: Casts,
    device: torch.device,
    portions: Portions,
) -> None:
    """Fill all members."""
    replaced = _storages_replaced(plan, casts)
    names = _names_by_source(storages, casts)

    def copy() -> None:
        for index, storage in enumerate(storages):
            if id(storage) not in replaced:
                filling.fill(f"data/{index}", storage)
                portions.add(storage.nbytes())

    whole = [d for d in plan.conversions if id(d.original.untyped_storage()) in replaced]
    parts = [d for d in plan.conversions if id(d.original.untyped_storage()) not in replaced]
    # Copies keep the kernel busy, and permutations a processor or a GPU: side by side.
    with ThreadPoolExecutor(1) as pool:
        copying = pool.submit(copy)
        for nbytes in filling.convert(whole, names, device):
            portions.add(nbytes)
        copying.result()
    filling.convert_parts(parts, names, device)


def _storages_replaced(plan: Plan, casts: Casts) -> frozenset[int]:
    """Return the ids of the storages that are one converted weight and nothing else."""
    storages = (d.original.untyped_storage() for d in plan.conversions if d.original.numel())
    sizes = {id(d.original.untyped_storage()): d.original.nbytes for d in plan.conversions}
    return frozenset(
        id(storage)
        for storage in storages
        if storage.nbytes() == sizes[id(storage)] and id(storage) not in casts.sources
    )


def _names_by_source(storages: list[Storage], casts: Casts) -> dict[int, str]:
    """Return the member that holds each of the input's storages, by the storage's id."""
    names = {}
    for index, storage in enumerate(storages):
        cast = casts.by_target.get(id(storage))
        names[id(cast.source if cast else storage)] = f"data/{index}"
    return names


class _Filling:
    """The space of each storage in a skeleton, being filled."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        skeleton: Archive,
        casts: Casts,
        source: IO[bytes],
        target: IO[bytes],
    ) -> None:
        self._checkpoint, self._skeleton, self._casts = checkpoint, skeleton, casts
        self._source, self._target = source.fileno(), target.fileno()
        self.crcs: dict[str, int] = {}
        """The CRC of each member that is filled."""

    def fill(self, name: str, storage: Storage) -> None:
        """Fill one member with a storage as it is, or as fp16."""
        if cast := self._casts.by_target.get(id(storage)):
            self._fill_cast(name, cast)
            return
        stored, member = self._checkpoint.stored(storage), self._skeleton.members[name]
        self.crcs[name] = crc_of(self._source, stored.offset, stored.nbytes)
        _require_crc(stored, self.crcs[name])
        copy_range(self._source, self._target, stored.offset, member.offset, stored.nbytes)

    def convert(
        self, decisions: list[Decision], names: dict[int, str], device: torch.device
    ) -> Iterator[int]:
        """Fill members that are one converted weight each; yield the size of each slice written.

        Args:
            decisions: The weights.
            names: The member that each storage is in, by the storage's id.
            device: Where the weights are permuted.
        """
        found: dict[str, tuple[StoredBytes, int]] = {}
        for storage, before, after in self._write(decisions, names, device):
            name, stored = names[id(storage)], self._checkpoint.stored(storage)
            found[name] = stored, crc32(before, found[name][1] if name in found else 0)
            self.crcs[name] = crc32(after, self.crcs.get(name, 0))
            yield len(after)
        for stored, crc in found.values():
            _require_crc(stored, crc)

    def convert_parts(
        self, decisions: list[Decision], names: dict[int, str], device: torch.device
    ) -> None:
        """Write converted weights over parts of members that are filled; as `convert` otherwise."""
        patched = {names[id(storage)] for storage, _, _ in self._write(decisions, names, device)}
        for name in patched:
            member = self._skeleton.members[name]
            self.crcs[name] = crc_of(self._target, member.offset, member.nbytes)

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

    def _fill_cast(self, name: str, cast: Cast) -> None:
        """Fill one member with a storage's values as fp16."""
        member, stored = self._skeleton.members[name], self._checkpoint.stored(cast.source)
        _require_crc(stored, crc_of(self._source, stored.offset, stored.nbytes))
        values = torch.empty(0, dtype=cast.dtype).set_(
            cast.source, 0, (cast.source.nbytes() // cast.dtype.itemsize,), (1,)
        )
        position, crc = member.offset, 0
        for chunk in self._checkpoint.chunks(values):
            data = bytearray(chunk.numel() // cast.dtype.itemsize * torch.float16.itemsize)
            tensor_over(data, torch.float16).copy_(chunk.view(cast.dtype))
            write_exactly(self._target, memoryview(data), position)
            position, crc = position + len(data), crc32(data, crc)
        self.crcs[name] = crc


def _slices(decision: Decision) -> list[torch.Tensor]:
    """Cut a weight where both its layouts can be cut."""
    weight = decision.original
    if weight.stride(0) != decision.stride_after[0]:
        return [weight]
    return slices_of(weight, SLICE_BYTES)


def _require_crc(stored: StoredBytes, crc: int) -> None:
    """Refuse a storage whose bytes in the input have not the CRC that it states."""
    if stored.crc not in {None, crc}:
        raise MalformedCheckpointError(
            f"The data of {stored.member!r} is damaged: its CRC is not the one stated.",
            remedy="Fetch the file anew from where it came.",
        )


def _extras(checkpoint: Checkpoint, plan: Plan) -> Iterator[tuple[str, bytes]]:
    """Yield the members that torch does not write: the manifest, and what the input had."""
    yield manifests.MEMBER, plan.manifest(checkpoint.manifest).encode()
    if checkpoint.archive is not None:
        for name in checkpoint.archive.members:
            if name not in WRITTEN_BY_TORCH and not name.startswith("data/"):
                yield name, checkpoint.archive.read(name)
