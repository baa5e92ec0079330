"""`digest`: the digest of each tensor in a checkpoint or a model folder."""

from __future__ import annotations

import os
from pathlib import Path

from convlast.bytes.reclaiming import collecting_seldom
from convlast.checkpoints.tree import walk
from convlast.containers import is_folder, open_checkpoint
from convlast.devices import on_the_cpu
from convlast.digests.listing import Digests
from convlast.digests.of_file import tensor_digests
from convlast.digests.of_folder import folder_digests
from convlast.folders import open_folder
from convlast.options import Limits
from convlast.places.workplace import temporary_folder
from convlast.progress import Progress, silent

_LIMITS = Limits()


@on_the_cpu()
@collecting_seldom()
def digest(
    path: str | os.PathLike[str],
    *,
    limits: Limits = _LIMITS,
    allow_programs: bool = False,
    progress: Progress | None = None,
) -> Digests:
    """Return a digest of each tensor that does not depend on its layout, and one of them all.

    The digests of a checkpoint, of what a conversion makes of it, and of the same tensors in a
    safetensors file are the same. docs/reference/tensor-digests.md defines them.

    Args:
        path: The checkpoint, or model folder.
        limits: What the file may cost.
        allow_programs: Whether files that hold code may be opened.
        progress: Called as `progress(stage, done, total)`, in bytes; the stage is `digest`, or
            `files` for a model folder.

    Returns:
        The digests, in the order of the tensors' names.

    Raises:
        OptionError: If the limits are none.
        CheckpointError: If the file cannot be opened, or a tensor has no bytes to digest.
        OSError: If it cannot be read.
    """
    Limits.require(limits, "limits")
    source, advance = Path(path), progress or silent
    if is_folder(source):
        with (
            temporary_folder() as workplace,
            open_folder(source, workplace, limits, advance) as folder,
        ):
            found = folder_digests(folder, allow_programs=allow_programs, progress=advance)
            return found.together()
    checkpoint = open_checkpoint(source, limits=limits, allow_programs=allow_programs)
    entries = walk(checkpoint.root, limits)
    return Digests.of(tensor_digests(checkpoint, entries, limits, advance))
