"""Where a statement may be written: where nothing is lost by it, and nothing takes its place."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from convlast.cli.places import Place
from convlast.errors import OptionError, StatementError
from convlast.places.target import place_of


def keep_statement_apart(
    statement: Path,
    key: Path | None,
    source: Path | None,
    made: Place | None,
    reports: Sequence[Path],
) -> None:
    """Refuse a statement where something else is, or goes; and anything in place of the key.

    Args:
        statement: Where the statement goes.
        key: The key that signs it, if one does.
        source: The input, if it is on this machine.
        made: Where the artifact goes, if that is known and on this machine.
        reports: The files that the report goes to.

    Raises:
        OptionError: If two are at one place.
    """
    target = None if made is None else made.path
    written = [("artifact", target), *(("report", report) for report in reports)]
    for what, other in (("input", source), ("key", key), *written):
        _keep_apart("statement", statement, what, other)
    for what, other in written:
        _keep_apart(what, other, "key", key)
    # A file may be made in the statement's own folder.
    folders = [("input", source)] if source is not None and source.is_dir() else []
    folders += [("artifact", made.path)] if made is not None and made.is_folder else []
    for what, folder in folders:
        if folder.resolve() in place_of(statement, "statement").parents:
            raise _in_the_way("statement", what)


def refuse_to_replace(statement: Path) -> None:
    """Refuse to lose what is there, unless that is a statement too, or empty.

    Raises:
        OptionError: If it is something else.
    """
    from convlast.provenance import reading

    place = place_of(statement, "statement")
    if not place.exists() or place.stat().st_size == 0:
        return
    try:
        found = reading.read_file(place)
        if isinstance(found, bytes):
            reading.parse(found)
    except StatementError:
        raise OptionError(
            "statement",
            f"{str(statement)!r} is there already, and no statement, which a new one may replace.",
            remedy="Name another place.",
        ) from None


def _keep_apart(one: str, path: Path | None, other: str, place: Path | None) -> None:
    """Refuse to write one thing where another is, by whatever name."""
    if path is None or place is None:
        return
    is_same = path.exists() and place.exists() and path.samefile(place)
    if is_same or path.resolve() == place.resolve():
        raise _in_the_way(one, other)


def _in_the_way(one: str, other: str) -> OptionError:
    return OptionError(
        "statement", f"The {one} would be where the {other} is.", remedy="Name a place beside it."
    )
