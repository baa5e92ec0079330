"""`convert`, `convert_to` and `convert_into`: the verbs behind every face."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

from convlast.containers import is_folder
from convlast.containers.naming import artifact_filename, artifact_place, becomes_a_folder
from convlast.conversion.file import FileConversion
from convlast.conversion.folder import FolderConversion
from convlast.conversion.job import JobSettings, PathLike, Source
from convlast.devices import on_the_cpu
from convlast.errors import OptionError
from convlast.options import Limits, Options
from convlast.options.keywords import ConversionKeywords
from convlast.progress import Progress, silent
from convlast.report import Report

__all__ = ["JobSettings", "Source", "convert", "convert_into", "convert_to"]

_OPTIONS = Options()
_LIMITS = Limits()


@on_the_cpu()
def convert(  # noqa: PLR0913  # the pinned face: two files, options, and rare keywords
    source: PathLike,
    target: PathLike,
    options: Options = _OPTIONS,
    *,
    device: str = "auto",
    limits: Limits = _LIMITS,
    allow_programs: bool = False,
    architecture_prefixes: Sequence[str] | None = None,
    progress: Progress | None = None,
    overwrite: bool = False,
    **keywords: Unpack[ConversionKeywords],
) -> Report:
    """Convert a checkpoint's Conv3d weights, prove the result, and write it.

    The source is never changed. The target appears whole or not at all.

    Args:
        source: The checkpoint; or a folder, a zip or tar archive, or the index of a sharded
            checkpoint, of which every checkpoint is converted and all else is kept.
        target: The file to write, or a folder for it; the report has the name that it gets there. A
            file that is there is replaced. For a model folder or an index it is the folder to make,
            which must not be there yet, or be empty.
        options: What to convert, and how.
        device: `auto`, `cpu`, `cuda` or `cuda:1`.
        limits: What the file may cost.
        allow_programs: Whether files that hold code may be opened.
        architecture_prefixes: The modules that an architecture may come from; None for the
            default ones.
        progress: Called as `progress(stage, done, total)`.
        overwrite: Whether a folder that an earlier conversion made may be replaced. A file is
            always replaced, as torch.save does.
        **keywords: Options by name, such as `smoke="none"`; they replace those in `options`.

    Returns:
        The report. Its verdict is `failed` only with `on_failure="report"`.

    Raises:
        OptionError: If an option is unknown, bad, or does not fit the checkpoint.
        ConvlastError: Another of its kinds; see `convlast.errors`.
        OSError: If the source cannot be read, or the target's folder is absent.
    """
    options = Options.combined(options, keywords, others=JobSettings.__annotations__)
    settings = JobSettings(
        device, limits, allow_programs, architecture_prefixes, progress or silent, overwrite
    )
    return convert_to(source, target, options, settings)


@on_the_cpu()
def convert_to(
    source: PathLike | Source, target: PathLike, options: Options, settings: JobSettings
) -> Report:
    """Convert a checkpoint; as `convert`, with the settings as one.

    Raises:
        ConvlastError: One of its kinds; see `convlast.errors`.
    """
    given = Source.of(source)
    job = _conversion(given, options, settings)
    return job.run(lambda kind: _place(target, given.name, options, kind))[0]


@on_the_cpu()
def convert_into(
    source: PathLike | Source,
    folder: PathLike,
    options: Options = _OPTIONS,
    settings: JobSettings | None = None,
) -> tuple[Report, Path]:
    """Convert a checkpoint into a folder, under the name that an artifact of it has.

    Args:
        source: The checkpoint, or model folder.
        folder: Where the artifact goes.
        options: What to convert, and how.
        settings: The settings of the job.

    Returns:
        The report, and the artifact.

    Raises:
        ConvlastError: One of its kinds; see `convlast.errors`.
    """
    given = Source.of(source)
    job = _conversion(given, options, settings or JobSettings())
    return job.run(lambda kind: Path(folder) / artifact_filename(given.name, options, kind))


def _place(target: PathLike, filename: str, options: Options, kind: str) -> Path:
    """Return where the artifact goes.

    Raises:
        OptionError: If it is to go into a folder that is not there.
    """
    place, text = Path(target), os.fsdecode(target)
    if text.endswith("/") and not place.is_dir() and not becomes_a_folder(kind):
        raise OptionError("target", f"There is no folder {text!r}.", remedy="Make it first.")
    return artifact_place(place, filename, options, kind)


def _conversion(
    source: Source, options: Options, settings: JobSettings
) -> FileConversion | FolderConversion:
    """Return the conversion of a file, or of a folder of files."""
    kind = FolderConversion if is_folder(source.path) else FileConversion
    return kind(source, options, settings)
