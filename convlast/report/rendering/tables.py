"""The tables of the page: layers, ways of loading, values out of range, modules that permute."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from convlast.report.rendering import notation, summary
from convlast.report.rendering.markup import Markup, element
from convlast.report.sections import FileSection, Flip, Layer, Range, Status, Survival

STATUS_STATES: dict[Status, summary.State] = {
    "converted": "good",
    "convertible": "good",
    "skipped": "caution",
}
_SMOKE_STATES: dict[str, summary.State] = {
    "passed": "good",
    "inaccurate": "caution",
    "failed": "bad",
}

_MAX_FILES = 1000


def tag(text: str, state: summary.State) -> Markup:
    """Write a word as a coloured label."""
    return element("span", text, class_=f"tag {state}")


def layers(rows: Iterable[Layer]) -> Markup:
    """Write the layer report."""
    headers = ["Layer", "Weight", "Status", "Strides before, after", "In fp16", "Relative error"]
    return table(headers, map(_layer, rows))


def files(rows: Sequence[FileSection]) -> Markup:
    """Write the checkpoints and indices of a model folder, and how many more files there are."""
    known = [row for row in rows if row.role != "other"]
    headers = ["File", "Role", "Verdict", "Container", "Size", "Change"]
    written = table(headers, map(_file, known[:_MAX_FILES]))
    others = len(rows) - len(known[:_MAX_FILES])
    note = f"{notation.count(others, 'more file')}, in the JSON report." if others else ""
    return element("div", written, element("p", note, class_="note"))


def _file(row: FileSection) -> list[Markup]:
    state = summary.VERDICT_STATES[row.verdict]
    change = "none" if row.artifact and row.artifact.unchanged else "layout"
    return [
        named(row.path),
        cell(row.role),
        cell(tag(summary.VERDICTS[row.verdict], state)),
        cell(row.input.container),
        cell(notation.size(row.input.bytes), class_="number"),
        cell(change if row.artifact else "–"),
    ]


def survival(rows: Iterable[Survival]) -> Markup:
    """Write which ways of loading keep the layout."""
    return table(
        ["Way of loading", "Layout", "Why"],
        ([named(row.route), element("td", _survives(row)), cell(row.message)] for row in rows),
    )


def _survives(row: Survival) -> Markup:
    if row.survives is None:
        return tag("not tried", "unknown")
    if row.always_lost:
        return tag("never kept", "unknown")
    return tag("kept", "good") if row.survives else tag("lost", "caution")


def ranges(rows: Iterable[Range]) -> Markup:
    """Write the tensors with values that fp16 cannot hold, or only just."""
    headers = ["Tensor", "Values", "Largest", "Headroom", "Overflow", "Vanish", "Not finite before"]
    return table(headers, map(_range, rows), numbers_from=1)


def flips(rows: Iterable[Flip]) -> Markup:
    """Write the modules that change the memory format."""
    return table(
        ["Module", "Layout in", "Layout out"],
        (
            [named(row.module), cell(row.input_memory_format), cell(row.output_memory_format)]
            for row in rows
        ),
    )


def table(
    headers: Sequence[str], rows: Iterable[Sequence[Markup]], *, numbers_from: int | None = None
) -> Markup:
    """Write a table; the columns from `numbers_from` on are aligned to the right."""
    first_number = len(headers) if numbers_from is None else numbers_from
    titles = (
        element("th", text, scope="col", class_="text" if index < first_number else "number")
        for index, text in enumerate(headers)
    )
    head = element("thead", element("tr", *titles))
    body = element("tbody", *(element("tr", *row) for row in rows))
    return element("div", element("table", head, body), class_="table")


def named(name: str) -> Markup:
    """Write the cell that names a row."""
    return element("th", element("code", name), scope="row")


def cell(*content: str, class_: str = "text") -> Markup:
    """Write a cell."""
    return element("td", *content, class_=class_)


def _notes(*notes: str | None) -> list[Markup]:
    return [element("small", note) for note in notes if note]


def _lines(texts: Iterable[str]) -> list[Markup]:
    return [element("div", text) for text in texts]


def _layer(layer: Layer) -> list[Markup]:
    strides = [notation.strides(layer.stride_before), notation.strides(layer.stride_after)]
    weight = f"{notation.shape(layer.shape)} {layer.dtype}"
    alias = f"same as {layer.alias_of}" if layer.alias_of else None
    status = tag(layer.status, STATUS_STATES.get(layer.status, "unknown"))
    return [
        named(layer.name),
        cell(layer.kind, *_notes(weight, layer.evidence), class_="weight"),
        cell(status, *_notes(layer.reason, alias), class_="status"),
        cell(*_lines(dict.fromkeys(strides)), class_="mono"),
        *_layer_smoke(layer),
    ]


def _layer_smoke(layer: Layer) -> list[Markup]:
    smoke = layer.smoke
    if smoke is None:
        return [cell("–"), cell("–")]
    status = tag(smoke.status, _SMOKE_STATES.get(smoke.status, "unknown"))
    finite = {True: "finite", False: "not finite", None: None}[smoke.finite]
    errors = [
        f"{pair} {notation.magnitude(parity.relative)}"
        for pair in ("dtype", "layout")
        if (parity := summary.find_parity(smoke, pair))
    ]
    return [
        cell(status, *_notes(finite, smoke.output_memory_format, smoke.reason)),
        cell(*_lines(errors), class_="nowrap"),
    ]


def _range(row: Range) -> list[Markup]:
    counts = (f"{number:,}" for number in (row.overflow, row.underflow, row.nonfinite))
    largest, headroom = notation.magnitude(row.absmax), notation.times(row.headroom)
    numbers = [f"{row.numel:,}", largest, headroom, *counts]
    return [named(row.name), *(cell(number, class_="number") for number in numbers)]
