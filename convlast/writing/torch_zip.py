"""A converted checkpoint as a torch zip file, written as a stream.

Large storages that do not change go from file to file inside the kernel. Convolution weights pass
through memory in slices; what is large is read back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

import torch

from convlast.bytes.digest import FilePart
from convlast.checkpoints import manifest as manifests
from convlast.checkpoints.checkpoint import Checkpoint, Storage
from convlast.checkpoints.guard.zip_directory import read_directory
from convlast.options import Limits
from convlast.planning.casting import Casts
from convlast.planning.plan import LayerPlan, Plan
from convlast.progress import Portions, Progress
from convlast.writing.filling import Filling
from convlast.writing.readback import Match
from convlast.writing.skeleton import finish, write_skeleton

Follow: TypeAlias = Callable[[Path, Iterable[FilePart]], object]

WRITTEN_BY_TORCH = {
    "data.pkl",
    "version",
    "byteorder",
    ".format_version",
    ".storage_alignment",
    ".data/serialization_id",
    manifests.MEMBER,
}


def write_torch(  # noqa: PLR0913  # what, where and how
    checkpoint: Checkpoint,
    plan: Plan,
    folder: Path,
    device: torch.device,
    progress: Progress,
    casts: Casts,
    follow: Follow,
) -> tuple[Path, frozenset[Match]]:
    """Write a checkpoint, whose tensors have their new strides, as a torch zip file.

    Args:
        checkpoint: The input.
        plan: What is to be done.
        folder: Where the file is made.
        device: Where weights are permuted.
        progress: Told how far it is.
        casts: What becomes fp16.
        follow: Told of the file and its parts before any is written; whoever reads them has to
            check the CRCs that they claim.

    Returns:
        The file, in the folder, and what of it was read back and is the input's.

    Raises:
        StorageFullError: If there is no room.
        MalformedCheckpointError: If the data does not have the CRC that the input states.
    """
    path, storages = write_skeleton(checkpoint, folder)
    skeleton = read_directory(path, Limits(max_members=len(storages) + 100))
    with path.open("r+b") as target:
        filling = Filling(checkpoint, skeleton, casts, target.fileno())
        portions = Portions(progress, "write", sum(storage.nbytes() for storage in storages))
        with filling.parts as parts:
            follow(path, parts)
            _fill(filling, storages, plan, casts, device, portions)
            finish(skeleton, filling.crcs, _extras(checkpoint, plan))
    return path, frozenset(filling.matches)


def _fill(  # what is written, and how
    filling: Filling,
    storages: list[Storage],
    plan: Plan,
    casts: Casts,
    device: torch.device,
    portions: Portions,
) -> None:
    """Fill all members, about in the order of the file, so that it can be read meanwhile."""
    replaced = _storages_replaced(plan, casts)
    names = _names_by_source(storages, casts)
    converted = sorted(plan.conversions, key=lambda d: _index(names, d))
    whole = [d for d in converted if id(d.original.untyped_storage()) in replaced]
    parts = [d for d in converted if id(d.original.untyped_storage()) not in replaced]
    # By name: the storages of what is cast are not those of the input.
    patched = {names[id(d.original.untyped_storage())] for d in parts}
    copies = deque((n, each) for n, each in enumerate(storages) if id(each) not in replaced)

    def copy(end: int) -> None:
        """Copy what comes before a member; on a GPU the next weight is on its way meanwhile."""
        while copies and copies[0][0] < end:
            index, storage = copies.popleft()
            filling.fill(f"data/{index}", storage, is_final=f"data/{index}" not in patched)
            portions.add(storage.nbytes())

    for decision, nbytes in filling.convert(whole, names, device):
        copy(_index(names, decision))
        portions.add(nbytes)
    copy(len(storages))
    filling.convert_parts(parts, names, device)


def _index(names: dict[int, str], decision: LayerPlan) -> int:
    """Return the number of the member that a weight is in."""
    return int(names[id(decision.original.untyped_storage())].removeprefix("data/"))


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


def _extras(checkpoint: Checkpoint, plan: Plan) -> Iterator[tuple[str, bytes]]:
    """Yield the members that torch does not write: the manifest, and what the input had."""
    yield manifests.MEMBER, plan.manifest(checkpoint.manifest).encode()
    if checkpoint.archive is not None:
        for name in checkpoint.archive.members:
            if name not in WRITTEN_BY_TORCH and not name.startswith("data/"):
                yield name, checkpoint.archive.read(name)
