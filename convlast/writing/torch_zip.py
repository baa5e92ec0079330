"""A converted checkpoint as a torch zip file, written as a stream.

Storages that do not change go from file to file inside the kernel. Only convolution weights
pass through memory, one at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO

import torch

from convlast.casting import Cast, Casts
from convlast.checkpoints import manifest as manifests
from convlast.checkpoints.archive import Archive, Member, read_directory
from convlast.checkpoints.checkpoint import Checkpoint, Storage, StoredBytes, tensor_over
from convlast.errors import MalformedCheckpointError
from convlast.options import Limits
from convlast.permutation import permuted
from convlast.plan import Decision, Plan
from convlast.progress import Progress
from convlast.writing.copying import copy_range, crc_of, write_exactly
from convlast.writing.skeleton import finish, write_skeleton

_WRITTEN_BY_TORCH = {
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
    conversions: dict[int, list[Decision]] = {}
    for decision in plan.conversions:
        conversions.setdefault(id(decision.original.untyped_storage()), []).append(decision)
    total = sum(storage.nbytes() for storage in storages)
    done, crcs = 0, {}
    with checkpoint.path.open("rb") as source, path.open("r+b") as target:
        filling = _Filling(checkpoint, skeleton, source, target, device)
        for index, storage in enumerate(storages):
            name = f"data/{index}"
            if cast := casts.by_target.get(id(storage)):
                crcs[name] = filling.fill_cast(name, cast, conversions.get(id(cast.source), []))
            else:
                crcs[name] = filling.fill(name, storage, conversions.get(id(storage), []))
            done += storage.nbytes()
            progress("write", done, total)
    finish(skeleton, crcs, _extras(checkpoint, plan))
    return path


class _Filling:
    """The space of each storage in a skeleton, being filled."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        skeleton: Archive,
        source: IO[bytes],
        target: IO[bytes],
        device: torch.device,
    ) -> None:
        self._checkpoint, self._skeleton, self._device = checkpoint, skeleton, device
        self._source, self._target = source.fileno(), target.fileno()

    def fill(self, name: str, storage: Storage, conversions: list[Decision]) -> int:
        """Fill one member, and return its CRC."""
        stored, member = self._checkpoint.stored(storage), self._skeleton.members[name]
        crc = self._checked_crc(stored)
        copy_range(self._source, self._target, stored.offset, member.offset, stored.nbytes)
        for decision in conversions:
            weight = self._checkpoint.read(decision.original)
            self._write(weight, decision, member)
        return crc_of(self._target, member.offset, member.nbytes) if conversions else crc

    def fill_cast(self, name: str, cast: Cast, conversions: list[Decision]) -> int:
        """Fill one member with a storage's values as fp16, and return its CRC."""
        member = self._skeleton.members[name]
        self._checked_crc(self._checkpoint.stored(cast.source))
        values = torch.empty(0, dtype=cast.dtype).set_(
            cast.source, 0, (cast.source.nbytes() // cast.dtype.itemsize,), (1,)
        )
        position = member.offset
        for chunk in self._checkpoint.chunks(values):
            data = bytearray(chunk.numel() // cast.dtype.itemsize * torch.float16.itemsize)
            tensor_over(data, torch.float16).copy_(chunk.view(cast.dtype))
            write_exactly(self._target, memoryview(data), position)
            position += len(data)
        for decision in conversions:
            weight = self._checkpoint.read(decision.original).to(torch.float16)
            self._write(weight, decision, member)
        return crc_of(self._target, member.offset, member.nbytes)

    def _checked_crc(self, stored: StoredBytes) -> int:
        """Return the CRC of a storage's bytes in the input, which must be the one it states."""
        crc = crc_of(self._source, stored.offset, stored.nbytes)
        if stored.crc not in {None, crc}:
            raise MalformedCheckpointError(
                f"The data of {stored.member!r} is damaged: its CRC is not the one stated.",
                remedy="Fetch the file anew from where it came.",
            )
        return crc

    def _write(self, weight: torch.Tensor, decision: Decision, member: Member) -> None:
        """Write one weight in its new order over the old one."""
        start = int(decision.original.storage_offset()) * weight.itemsize
        data = permuted(weight, decision.stride_after, self._device)
        write_exactly(self._target, memoryview(data), member.offset + start)


def _extras(checkpoint: Checkpoint, plan: Plan) -> Iterator[tuple[str, bytes]]:
    """Yield the members that torch does not write: the manifest, and what the input had."""
    yield manifests.MEMBER, plan.manifest(checkpoint.manifest).encode()
    if checkpoint.archive is not None:
        for name in checkpoint.archive.members:
            if name not in _WRITTEN_BY_TORCH and not name.startswith("data/"):
                yield name, checkpoint.archive.read(name)
