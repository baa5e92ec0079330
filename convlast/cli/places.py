"""Where a command writes, checked before the work begins."""

from __future__ import annotations

from pathlib import Path

import typer

from convlast.errors import CheckpointError
from convlast.options import Options
from convlast.writing.target import place_of


def place_in(folder: Path, source: Path, options: Options) -> Path | None:
    """Return the path of a file's artifact in a folder, with the name that the library chooses.

    None if the file is not a checkpoint; the verb will say so.
    """
    from convlast.containers import container_of
    from convlast.containers.naming import artifact_filename

    try:
        return folder / artifact_filename(source.name, options, container_of(source))
    except CheckpointError:
        return None


def keep_apart(source: Path, target: Path | None, report: Path | None) -> None:
    """Refuse names that would overwrite the input, one output with the other, or what is no file.

    Raises:
        typer.BadParameter: If a name is one of another thing, or its folder is absent.
        OptionError: If a device, a pipe or the like has the name.
    """
    if target is not None and not target.parent.is_dir():
        raise typer.BadParameter(f"there is no folder '{target.parent}'", param_hint="'--output'")
    for written, option in ((target, "output"), (report, "report")):
        if written is not None and place_of(written, option).exists() and written.samefile(source):
            raise typer.BadParameter("this is the input", param_hint=f"'--{option}'")
    if report is not None:
        _keep_report_apart(report, source, target)


def _keep_report_apart(report: Path, source: Path, target: Path | None) -> None:
    place = report.resolve()
    folders = place.parents if source.is_dir() else ()
    if source.resolve() in folders:
        raise typer.BadParameter("this is in the input", param_hint="'--report'")
    if target is not None and target.resolve() in (place, *folders):
        raise typer.BadParameter("this is where the artifact goes", param_hint="'--report'")
