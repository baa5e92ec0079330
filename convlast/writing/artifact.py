"""The file that a conversion makes, of whatever container."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from convlast.bytes.digest import FilePart
from convlast.bytes.reclaiming import collecting_seldom
from convlast.checkpoints import Checkpoint
from convlast.checkpoints.programs.zipped_program import ZippedProgram
from convlast.planning.casting import Casts, cast_to_float16
from convlast.planning.plan import Plan, apply_strides
from convlast.progress import Progress
from convlast.writing.program_archive import write_program
from convlast.writing.readback import Match
from convlast.writing.safetensors import write_safetensors
from convlast.writing.torch_zip import Follow, write_torch

_EXTENSIONS = {"safetensors": ".safetensors", "program": ".pt2"}
"""By which torch knows what to expect of a file."""


@dataclass(frozen=True)
class Written:
    """A file that was made.

    Attributes:
        path: Where it is.
        is_unchanged: Whether it is the input, byte for byte.
        casts: What became fp16.
        matches: What was read back, and found to be the input's.
    """

    path: Path
    is_unchanged: bool = False
    casts: Casts = field(default_factory=Casts)
    matches: frozenset[Match] = frozenset()


@collecting_seldom()
def write_artifact(  # noqa: PLR0913  # what, where and how
    checkpoint: Checkpoint,
    plan: Plan,
    folder: Path,
    device: torch.device,
    progress: Progress,
    *,
    container: str,
    is_cast: bool,
    follow: Follow,
) -> Written:
    """Write what was planned into a folder.

    Args:
        checkpoint: The source, whose tensors get their new strides.
        plan: What is to be done.
        folder: Where the file is made.
        device: Where weights are permuted.
        progress: Told how far it is.
        container: The container of the file.
        is_cast: Whether floating-point tensors become fp16.
        follow: Told of the file and its parts, which may be read while it is written.

    Raises:
        StorageFullError: If there is no room.
        MalformedCheckpointError: If the source is damaged.
    """
    apply_strides(plan)
    casts = cast_to_float16(checkpoint, plan) if is_cast else Casts()
    if casts.paths:
        plan = replace(plan, dtype="float16")
    if not casts.paths and _needs_no_change(checkpoint, plan, container):
        copy = shutil.copyfile(checkpoint.path, folder / f"copy{_EXTENSIONS.get(container, '.pt')}")
        follow(Path(copy), _parts_of(checkpoint))
        return Written(Path(copy), is_unchanged=True, casts=casts)
    if isinstance(checkpoint, ZippedProgram):
        written = Written(write_program(checkpoint, plan, folder, device, progress), casts=casts)
    elif container == "safetensors":
        written = Written(write_safetensors(checkpoint, plan, folder, progress), casts=casts)
    else:
        path, matches = write_torch(checkpoint, plan, folder, device, progress, casts, follow)
        return Written(path, casts=casts, matches=matches)
    follow(written.path, [FilePart(None)])
    return written


def _parts_of(checkpoint: Checkpoint) -> Iterator[FilePart]:
    """Yield the parts of an input, with the CRCs that it states of its members."""
    position = 0
    # A program's members may be compressed, and their CRCs are of what is in them.
    if checkpoint.archive is not None and checkpoint.container == "torch":
        members = checkpoint.archive.members.items()
        for name, member in sorted(members, key=lambda item: item[1].offset):
            yield FilePart(member.offset - position)
            yield FilePart(member.nbytes, member.crc, name)
            position = member.offset + member.nbytes
    yield FilePart(None)


def _needs_no_change(checkpoint: Checkpoint, plan: Plan, container: str) -> bool:
    return container == checkpoint.container and all(
        decision.stride_before == decision.stride_after for decision in plan.decisions
    )
