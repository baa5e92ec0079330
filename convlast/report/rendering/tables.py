"""The tables of the page: values out of range, modules that permute."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from convlast.report.rendering import notation, summary
from convlast.report.rendering.markup import Markup, element
from convlast.report.sections import Flip, Range


def tag(text: str, state: summary.State) -> Markup:
    """Write a word as a coloured label."""
    return element("span", text, class_=f"tag {state}")


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
        element("th", text, scope="col", **({} if index < first_number else {"class_": "number"}))
        for index, text in enumerate(headers)
    )
    return assemble(titles, (element("tr", *row) for row in rows))


def assemble(titles: Iterable[Markup], rows: Iterable[Markup], *, class_: str = "plain") -> Markup:
    """Write a table, which scrolls on a narrow screen."""
    head = element("thead", element("tr", *titles))
    written = element("table", head, element("tbody", *rows), class_=class_)
    return element("div", written, class_="table")


def named(name: str) -> Markup:
    """Write the cell that names a row."""
    return element("th", element("code", name), scope="row")


def cell(*content: str, class_: str | None = None) -> Markup:
    """Write a cell."""
    return element("td", *content, **({"class_": class_} if class_ else {}))


def _range(row: Range) -> list[Markup]:
    counts = (f"{number:,}" for number in (row.overflow, row.underflow, row.nonfinite))
    largest, headroom = notation.magnitude(row.absmax), notation.times(row.headroom)
    numbers = [f"{row.numel:,}", largest, headroom, *counts]
    return [named(row.name), *(cell(number, class_="number") for number in numbers)]
