"""A report as a file: its kind by the ending of its name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from convlast.errors import OptionError
from convlast.places.workplace import write_whole
from convlast.report.gates import Decision
from convlast.report.rendering import html
from convlast.report.rendering.pipelines import junit, markdown, sarif
from convlast.report.sections import ReportData


def json_of(report: ReportData) -> str:
    """Write a report as `--json` prints it, and a statement knows it by its digest."""
    return f"{report.model_dump_json(indent=2)}\n"


KINDS: dict[str, Callable[[ReportData], str]] = {
    ".json": json_of,
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


def save(report: ReportData, path: Path, decisions: Sequence[Decision] = ()) -> None:
    """Write a report, whole or not at all; a file that is there is replaced.

    Args:
        report: The report.
        path: The file, whose name says which kind. A view of tests has a case for each gate.
        decisions: What gates say of it, the first of them about its verdict.

    Raises:
        OptionError: If there is no such kind of report, or it cannot be put there.
        StorageFullError: If the file system fills up.
        OSError: If it cannot be written for another reason.
    """
    kind = kind_of(path)
    if kind is junit.render:
        text = junit.render(report, [junit.of_gate(each) for each in decisions[1:]])
    else:
        text = kind(report)
    write_whole(path, text.encode(), "report")
