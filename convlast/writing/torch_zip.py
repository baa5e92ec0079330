"""A converted checkpoint as a torch zip file, written as a stream.

Large storages that do not change go from file to file inside the kernel. Convolution weights pass
through memory in slices; what is large is read back.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator

import torch

from convlast.checkpoints import manifest as manifests
from convlast.checkpoints import metadata
from convlast.checkpoints.checkpoint import Checkpoint
from convlast.checkpoints.guard.zip_directory import read_directory
from convlast.options import Limits
from convlast.planning.plan import Plan
from convlast.progress import Portions
from convlast.writing.filling import Filling
from convlast.writing.request import WriteRequest, Written
from convlast.writing.skeleton import finish, write_skeleton
from convlast.writing.spaces import Space, spaces_of

WRITTEN_BY_TORCH = {
    "data.pkl",
    "version",
    "byteorder",
    ".format_version",
    ".storage_alignment",
    ".data/serialization_id",
    manifests.MEMBER,
}


def write_torch(request: WriteRequest) -> Written:
    """Write a checkpoint as a torch zip file.

    Raises:
        StorageFullError: If there is no room.
        MalformedCheckpointError: If the data does not have the CRC that the input states.
    """
    checkpoint, plan = request.checkpoint, request.plan
    path, storages = write_skeleton(checkpoint, request.folder)
    skeleton = read_directory(path, Limits(max_members=len(storages) + 100))
    spaces = spaces_of(storages, skeleton, checkpoint, plan)
    with path.open("r+b") as target:
        filling = Filling(checkpoint, spaces, target.fileno())
        portions = Portions(request.progress, "write", sum(each.nbytes() for each in storages))
        with filling.parts as parts:
            request.follow(path, parts)
            _fill(filling, spaces, request.device, portions)
            finish(skeleton, filling.crcs, _extras(checkpoint, plan))
    return Written(path, matches=frozenset(filling.matches))


def _fill(filling: Filling, spaces: list[Space], device: torch.device, portions: Portions) -> None:
    """Fill all spaces, about in the order of the file, so that it can be read meanwhile."""
    copies = deque(space for space in spaces if not space.is_one_weight)

    def copy_until(offset: float) -> None:
        while copies and copies[0].member.offset < offset:
            space = copies.popleft()
            filling.copy(space)
            portions.add(space.member.nbytes)

    def advance(space: Space, nbytes: int) -> None:
        """Copy what comes before a weight; on a GPU the next slice is on its way meanwhile."""
        copy_until(space.member.offset)
        portions.add(nbytes)

    filling.convert([space for space in spaces if space.is_one_weight], device, advance)
    copy_until(math.inf)
    filling.convert_parts([space for space in spaces if space.is_in_parts], device)


def _extras(checkpoint: Checkpoint, plan: Plan) -> Iterator[tuple[str, bytes]]:
    """Yield the members that torch does not write: the manifest, and what the input had."""
    yield manifests.MEMBER, plan.manifest(checkpoint.manifest).encode()
    if not checkpoint.holds_strides and metadata.authored(checkpoint.metadata):
        yield metadata.MEMBER, metadata.encode(checkpoint.metadata)
    if checkpoint.archive is not None:
        for name in checkpoint.archive.members:
            if name not in WRITTEN_BY_TORCH and not name.startswith("data/"):
                yield name, checkpoint.archive.read(name)
