"""`convert`, and `convert_into`: the verbs behind every face."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from convlast.checkpoints import is_folder
from convlast.conversion.file import FileConversion
from convlast.conversion.folder import FolderConversion
from convlast.devices import on_the_cpu
from convlast.options import Limits, Options
from convlast.progress import Progress, silent
from convlast.report import Report
from convlast.writing.naming import artifact_filename

PathLike: TypeAlias = str | os.PathLike[str]

_OPTIONS = Options()
_LIMITS = Limits()


@on_the_cpu()
def convert(  # noqa: PLR0913  # the pinned face: two files, options, and four rare keywords
    source: PathLike,
    target: PathLike,
    options: Options = _OPTIONS,
    *,
    device: str = "auto",
    limits: Limits = _LIMITS,
    allow_programs: bool = False,
    architecture_prefixes: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> Report:
    """Convert a checkpoint's Conv3d weights, prove the result, and write it.

    The source is never changed. The target appears whole or not at all.

    Args:
        source: The checkpoint; or a folder, a zip or tar archive, or the index of a sharded
            checkpoint, of which every checkpoint is converted and all else is kept.
        target: The file to write; one that is there is replaced. For a folder or an index it is a
            folder, which must not be there yet, or be empty.
        options: What to convert, and how.
        device: `auto`, `cpu`, `cuda` or `cuda:1`.
        limits: What the file may cost.
        allow_programs: Whether files that hold code may be opened.
        architecture_prefixes: The modules that an architecture may come from; None for the
            default ones.
        progress: Called as `progress(stage, done, total)`.

    Returns:
        The report. Its verdict is `failed` only with `on_failure="report"`.

    Raises:
        ConvlastError: One of its kinds; see `convlast.errors`.
    """
    job = _job(Path(source), options, limits, progress or silent, _name_of(source))
    job.architecture_prefixes = architecture_prefixes
    return job.run(device, allow_programs, lambda _container: Path(target))[0]


@on_the_cpu()
def convert_into(  # noqa: PLR0913  # as convert
    source: PathLike,
    folder: PathLike,
    options: Options = _OPTIONS,
    *,
    name: str | None = None,
    sha256: str | None = None,
    device: str = "auto",
    limits: Limits = _LIMITS,
    allow_programs: bool = False,
    architecture_prefixes: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> tuple[Report, Path]:
    """Convert a checkpoint into a folder, under the name an artifact of it has.

    Args:
        source: The checkpoint, or model folder.
        folder: Where the artifact goes.
        options: What to convert, and how.
        name: The name the source is known by, if not its own.
        sha256: The digest of its bytes, where the caller has computed it.
        device: As for `convert`; so are the others.
        limits: As for `convert`.
        allow_programs: As for `convert`.
        architecture_prefixes: As for `convert`.
        progress: As for `convert`.

    Returns:
        The report, and the artifact.

    Raises:
        ConvlastError: One of its kinds; see `convlast.errors`.
    """
    known = name or _name_of(source)
    job = _job(Path(source), options, limits, progress or silent, known, sha256)
    job.architecture_prefixes = architecture_prefixes
    return job.run(
        device,
        allow_programs,
        lambda container: Path(folder) / artifact_filename(known, options, container),
    )


def _job(
    source: Path,
    options: Options,
    limits: Limits,
    progress: Progress,
    name: str,
    sha256: str | None = None,
) -> FileConversion | FolderConversion:
    """Return the conversion of a file, or of a folder of files."""
    kind = FolderConversion if is_folder(source) else FileConversion
    return kind(source, options, limits, progress, name, sha256)


def _name_of(source: PathLike) -> str:
    """Return the name of a file or folder, of `.` too."""
    return Path(os.path.abspath(source)).name  # noqa: PTH100  # a link keeps its name, and .. is gone
