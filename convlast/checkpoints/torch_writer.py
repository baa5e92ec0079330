"""A converted checkpoint as a torch zip file, written as a stream.

Storages that do not change go from file to file inside the kernel. Only convolution weights
pass through memory, one at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import IO, TypeAlias

import torch

from convlast.checkpoints import manifest as manifests
from convlast.checkpoints.archive import Archive, read_directory
from convlast.checkpoints.checkpoint import Checkpoint, Storage
from convlast.checkpoints.copying import copy_range, crc_of, write_exactly
from convlast.checkpoints.permutation import permuted
from convlast.checkpoints.skeleton import finish, write_skeleton
from convlast.errors import MalformedCheckpointError
from convlast.memory_format import span_of
from convlast.options import Limits
from convlast.plan import Decision, Plan, apply_strides

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called as progress(stage, done, total)."""

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
    checkpoint: Checkpoint, plan: Plan, folder: Path, device: torch.device, progress: Progress
) -> Path:
    """Write a checkpoint as a torch zip file, with the planned conversions done.

    Returns:
        The file, in the folder.

    Raises:
        StorageFullError: If there is no room.
        MalformedCheckpointError: If the data does not have the CRC that the input states.
    """
    apply_strides(plan)
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
            crcs[f"data/{index}"] = filling.fill(
                f"data/{index}", storage, conversions.get(id(storage), [])
            )
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
        crc = crc_of(self._source, stored.offset, stored.nbytes)
        if stored.crc not in {None, crc}:
            raise MalformedCheckpointError(
                f"The data of {stored.member!r} is damaged: its CRC is not the one stated.",
                remedy="Fetch the file anew from where it came.",
            )
        copy_range(self._source, self._target, stored.offset, member.offset, stored.nbytes)
        for decision in conversions:
            start, _ = span_of(decision.original)
            data = permuted(
                self._checkpoint.read(decision.original), decision.stride_after, self._device
            )
            write_exactly(self._target, memoryview(data), member.offset + start)
        return crc_of(self._target, member.offset, member.nbytes) if conversions else crc


def _extras(checkpoint: Checkpoint, plan: Plan) -> dict[str, bytes]:
    """Return the members that torch does not write: the manifest, and what the input had."""
    extras = {manifests.MEMBER: plan.manifest(checkpoint.manifest).encode()}
    if checkpoint.archive is not None:
        for name in checkpoint.archive.members:
            if name not in _WRITTEN_BY_TORCH and not name.startswith("data/"):
                extras[name] = checkpoint.archive.read(name)
    return extras
