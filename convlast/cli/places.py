"""Where a command writes, checked before the work begins."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import typer

from convlast.errors import CheckpointError, OptionError
from convlast.options import Options
from convlast.places.target import place_of
from convlast.stores.address import Address, is_address


class Place(NamedTuple):
    """Where an artifact goes.

    Attributes:
        path: Its path.
        is_folder: Whether it is a folder.
    """

    path: Path
    is_folder: bool


def place_of_artifact(source: Path, target: Path | None, options: Options) -> Place | None:
    """Return where the artifact goes; None if the source is no checkpoint, as the verb will say.

    Args:
        source: What is converted.
        target: The file or folder that was named; if none was, the artifact goes beside the source.
        options: How it is converted.

    Raises:
        OptionError: If the options do not fit the kind of file.
    """
    from convlast.containers import container_of
    from convlast.containers.naming import artifact_filename, artifact_place, becomes_a_folder
    from convlast.conversion import Source

    name = Source.of(source).name
    try:
        kind = container_of(source)
    except CheckpointError:
        return None
    if target is None:
        path = source.absolute().parent / artifact_filename(name, options, kind)
    else:
        path = artifact_place(target, name, options, kind)
    return Place(path, becomes_a_folder(kind))


def refuse_own_name(source: Path, target: Path | None, place: Place) -> None:
    """Refuse to give an artifact the input's name, if no other was named.

    Raises:
        OptionError: If it would have that name.
    """
    path = place.path
    if target is None and path.exists() and path.samefile(source):
        raise OptionError(
            "output",
            f"The artifact would replace the input, {str(path)!r}.",
            remedy="Give the artifact another name: -o OUT.",
        )


def refuse_existing(place: Place) -> None:
    """Refuse to replace what is there, unless that is an empty folder for a folder.

    Raises:
        OptionError: If something is there.
    """
    path = place.path
    if place_of(path, "output").is_file() or (
        place.is_folder and path.is_dir() and any(path.iterdir())
    ):
        raise OptionError(
            "output",
            f"{str(path)!r} is there already.",
            remedy="--force replaces it; -o names another place.",
        )


def on_this_machine(named: str) -> Path | None:
    """Return the path that was named; None for an address."""
    return None if is_address(named) else Path(named)


def place_in_store(target: str | None) -> Path | Address:
    """Return where the artifact of a source in a store goes, or one that goes to a store.

    Raises:
        OptionError: If it was not named.
        AddressError: If the address is none.
    """
    if target is None:
        raise OptionError(
            "output",
            "The input is in a store, and nothing says where the artifact goes.",
            remedy="Name a place: -o OUT, such as a folder, or s3://bucket/folder/.",
        )
    return on_this_machine(target) or Address.parse(target)


def keep_apart(source: Path | None, target: Path | None, reports: Sequence[Path]) -> None:
    """Refuse names that would overwrite the input, one output with the other, or what is no file.

    Args:
        source: The input; None if it is in a store.
        target: Where the artifact goes, if it is named.
        reports: The files that the report is written to.

    Raises:
        typer.BadParameter: If a name is one of another thing, or its folder is absent.
        OptionError: If a device, a pipe or the like has the name.
    """
    if target is not None and not target.parent.is_dir():
        raise typer.BadParameter(f"there is no folder '{target.parent}'", param_hint="'--output'")
    written = [(target, "output")] if target is not None else []
    for place, option in [*written, *((report, "report") for report in reports)]:
        if source is not None and place_of(place, option).exists() and place.samefile(source):
            raise typer.BadParameter("this is the input", param_hint=f"'--{option}'")
    for report in reports:
        from convlast.report.saving import kind_of

        _keep_report_apart(report, source, target)
        kind_of(report)


def keep_reports_apart(reports: Sequence[Path], target: Path) -> None:
    """Refuse a report in the artifact's place, or of a kind that is not known.

    Raises:
        typer.BadParameter: If it would go there.
        OptionError: If it can be no file.
    """
    for report in reports:
        from convlast.report.saving import kind_of

        if place_of(report, "report") == place_of(target, "output"):
            raise typer.BadParameter("this is where the artifact goes", param_hint="'--report'")
        kind_of(report)


def _keep_report_apart(report: Path, source: Path | None, target: Path | None) -> None:
    place = report.resolve()
    folders = place.parents if source is not None and source.is_dir() else ()
    if source is not None and source.resolve() in folders:
        raise typer.BadParameter("this is in the input", param_hint="'--report'")
    if target is not None and target.resolve() in (place, *folders):
        raise typer.BadParameter("this is where the artifact goes", param_hint="'--report'")
