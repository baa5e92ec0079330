"""The file that a conversion makes, of whatever container."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from convlast.bytes.digest import FilePart
from convlast.bytes.reclaiming import collecting_seldom
from convlast.checkpoints.checkpoint import Checkpoint
from convlast.checkpoints.programs.zipped_program import ZippedProgram
from convlast.containers.container import WritableContainer
from convlast.writing.request import WriteRequest, Written


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
    copy = shutil.copyfile(checkpoint.path, request.folder / f"copy{container.extension}")
    request.follow(Path(copy), _parts_of(checkpoint))
    return Written(Path(copy), is_unchanged=True)


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
