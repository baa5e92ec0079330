"""A report as a file: its kind by the ending of its name."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from convlast.errors import OptionError
from convlast.report.gates import Decision
from convlast.report.rendering import html
from convlast.report.rendering.pipelines import junit, markdown, sarif
from convlast.report.sections import ReportData


def _json(report: ReportData) -> str:
    return f"{report.model_dump_json(indent=2)}\n"


KINDS: dict[str, Callable[[ReportData], str]] = {
    ".json": _json,
    ".html": html.render,
    ".htm": html.render,
    ".md": markdown.render,
    ".xml": junit.render,
    ".sarif": sarif.render,
}
"""How a report is written, by the ending of the file's name."""


def kind_of(path: Path) -> Callable[[ReportData], str]:
    """Return how a report is written to a file of this name; without an ending as JSON.

    Raises:
        OptionError: If there is no such kind of report.
    """
    suffix = path.suffix.lower()
    if suffix and suffix not in KINDS:
        raise OptionError(
            "report",
            f"There is no kind of report for {path.name!r}.",
            remedy=f"Name a file that ends in one of {', '.join(KINDS)}.",
        )
    return KINDS[suffix or ".json"]


def text_of(report: ReportData, path: Path, decisions: Sequence[Decision] = ()) -> str:
    """Write a report as a file of this name has it; a view of tests has a case for each gate.

    Args:
        report: The report.
        path: The file.
        decisions: What gates say of it, the first of them about its verdict.

    Raises:
        OptionError: If there is no such kind of report.
    """
    kind = kind_of(path)
    if kind is junit.render:
        return junit.render(report, [junit.of_gate(each) for each in decisions[1:]])
    return kind(report)


def save(report: ReportData, path: Path) -> None:
    """Write a report, whole or not at all; a file that is there is replaced.

    Raises:
        OptionError: If there is no such kind of report, or the path is no file.
        OSError: If it cannot be written.
    """
    text = kind_of(path)(report)
    place = Path(os.path.realpath(path))
    if place.exists() and not place.is_file():  # moving a file there would destroy a device
        raise OptionError(
            "report", f"{str(path)!r} is no file.", remedy="Name a file, or a place without one."
        )
    with TemporaryDirectory(prefix=".convlast-", dir=place.parent) as folder:
        made = Path(folder, "report")
        made.write_text(text, encoding="utf-8")
        made.replace(place)
