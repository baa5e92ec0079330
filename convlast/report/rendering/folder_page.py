"""The files of a model folder on the page: a line each, then the layers of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from convlast.report.rendering import headline, notation, summary, tables
from convlast.report.rendering.markup import Markup, element
from convlast.report.sections import FileSection, Layer, ReportData, Survival

MAX_FILES = 100
"""The most files that have a section on the page."""

_MAX_LINES = 1000
"""The most files that have a line."""


def by_file(layers: Sequence[Layer]) -> dict[str | None, list[Layer]]:
    """Return the layers of each file, by its path."""
    found: dict[str | None, list[Layer]] = {}
    for layer in layers:
        found.setdefault(layer.file, []).append(layer)
    return found


def overview(report: ReportData) -> Markup:
    """Write a line for each checkpoint and index, and how many more files there are."""
    layers = by_file(report.layers)
    known = [row for row in report.files if row.role != "other"][:_MAX_LINES]
    linked = [section.path for section in told(report)]
    headers = ["File", "Verdict", "Layers", "Error in fp16", "Speed", "Size", "Change"]
    rows = []
    for row in known:
        name = element("code", row.path)
        if row.path in linked:
            name = element("a", name, href=f"#{anchor(linked.index(row.path))}")
        title = element("th", name, scope="row")
        rows.append([title, *_facts(row, layers.get(row.path, []))])
    written = [tables.table(headers, rows)]
    if others := len(report.files) - len(known):
        text = f"{notation.count(others, 'more file')}, in the JSON report."
        written.append(element("p", text, class_="note"))
    return element("div", *written)


def _facts(row: FileSection, layers: Sequence[Layer]) -> Iterator[Markup]:
    yield tables.cell(
        tables.tag(summary.VERDICTS[row.verdict], summary.VERDICT_STATES[row.verdict])
    )
    said = summary.said_of_layers(layers)
    yield tables.cell(said or ("an index" if row.role == "index" else "–"))
    errors = [
        f"{name} {notation.magnitude(parity.relative)}"
        for pair, name in (("dtype", "fp16"), ("layout", "layout"))
        if (parity := summary.find_parity(row.smoke, pair))
    ]
    yield tables.cell(", ".join(errors) or "–")
    timing = row.smoke.timing if row.smoke else None
    yield tables.cell(notation.times(timing.speedup if timing and timing.representative else None))
    yield tables.cell(notation.size(row.input.bytes), class_="number")
    change = "none" if row.artifact and row.artifact.unchanged else "layout"
    yield tables.cell(change if row.artifact else "–")


def told(report: ReportData) -> list[FileSection]:
    """Return the files that have a section: those with layers."""
    layers = by_file(report.layers)
    return [section for section in report.files if section.path in layers][:MAX_FILES]


def left_out(report: ReportData) -> int:
    """Return how many files with layers have no section."""
    return len(by_file(report.layers)) - len(told(report))


def anchor(index: int) -> str:
    """Return the name that a link to a file's section leads to."""
    return f"file-{index + 1}"


def advice_of(section: FileSection, known: set[str]) -> Iterator[Markup]:
    """Write how a file is loaded, and the reasons that no file before it has.

    Args:
        section: The file.
        known: The reasons that the page has already; its own are added.
    """
    if section.advice is None:
        return
    new = [reason for reason in section.advice.reasons if reason not in known]
    known.update(new)
    yield from headline.reasons(section.advice.model_copy(update={"reasons": new}))
    if section.artifact:
        yield from headline.load(section.advice)


def ways_of_loading(report: ReportData) -> Iterator[tuple[list[str], list[Survival]]]:
    """Yield each table of ways of loading, with the files that it is true for."""
    found: dict[str, tuple[list[str], list[Survival]]] = {}
    for section in report.files:
        if section.survival:
            key = "".join(row.model_dump_json() for row in section.survival)
            found.setdefault(key, ([], section.survival))[0].append(section.path)
    yield from found.values()
