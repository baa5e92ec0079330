"""The file that a conversion makes, of whatever container."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from convlast.bytes.digest import FilePart
from convlast.bytes.reclaiming import collecting_seldom
from convlast.checkpoints.checkpoint import Checkpoint
from convlast.checkpoints.programs.zipped_program import ZippedProgram
from convlast.containers.container import WritableContainer
from convlast.progress import Portions, Progress
from convlast.writing.copying import copy_range
from convlast.writing.request import WriteRequest, Written

_PIECE_BYTES = 64 << 20
"""How much is copied between two calls of the progress."""


@collecting_seldom()
def write_artifact(request: WriteRequest, container: WritableContainer) -> Written:
    """Write what was planned, or copy the input if nothing changes.

    Raises:
        OptionError: If the container cannot hold the checkpoint.
        StorageFullError: If there is no room.
        MalformedCheckpointError: If the source is damaged.
    """
    checkpoint = request.checkpoint
    if checkpoint.container != container.name or request.plan.changes_bytes:
        return container.write(request)
    copy = request.folder / f"copy{container.extension}"
    _copy(checkpoint, copy, request.progress)
    request.follow(copy, _parts_of(checkpoint))
    return Written(copy, is_unchanged=True)


def _copy(checkpoint: Checkpoint, target: Path, progress: Progress) -> None:
    """Copy the input, piece by piece.

    Raises:
        StorageFullError: If there is no room.
    """
    total = checkpoint.path.stat().st_size
    portions = Portions(progress, "write", total)
    with checkpoint.path.open("rb") as source, target.open("xb") as file:
        for start in range(0, total, _PIECE_BYTES):
            nbytes = min(_PIECE_BYTES, total - start)
            copy_range(source.fileno(), file.fileno(), start, start, nbytes)
            portions.add(nbytes)


def _parts_of(checkpoint: Checkpoint) -> Iterator[FilePart]:
    """Yield the parts of an input, with the CRCs that it states of its members."""
    position = 0
    # A program's members may be compressed, and their CRCs are of what is in them.
    if checkpoint.archive is not None and not isinstance(checkpoint, ZippedProgram):
        members = checkpoint.archive.members.items()
        for name, member in sorted(members, key=lambda item: item[1].offset):
            yield FilePart(member.offset - position)
            yield FilePart(member.nbytes, member.crc, name)
            position = member.offset + member.nbytes
    yield FilePart(None)
