"""Which ways of loading keep the layout, as a small matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from convlast.report.rendering import notation, tables
from convlast.report.rendering.markup import Markup, element
from convlast.report.rendering.summary import State
from convlast.report.sections import Survival

Result = Literal["lost", "never", "kept", "untried"]

_COLUMNS: dict[Result, tuple[str, str, State]] = {
    "lost": ("Lost", "✕", "bad"),
    "never": ("Never", "✕", "caution"),
    "kept": ("Kept", "✓", "good"),
    "untried": ("Not tried", "–", "unknown"),
}
"""The columns in their order, surprises first: the mark of each, and how good it is."""


def survival(rows: Sequence[Survival]) -> Markup:
    """Write a row for each way of loading, with a mark in the column of its result."""
    order = list(_COLUMNS)
    ordered = sorted(rows, key=lambda row: order.index(result_of(row)))
    used = [result for result in order if any(result_of(row) == result for row in rows)]
    headers = ["Way of loading", *(_COLUMNS[result][0] for result in used)]
    written = tables.table(headers, (_row(row, used) for row in ordered))
    return element("div", element("p", _words(rows), class_="note"), written, class_="survival")


def result_of(row: Survival) -> Result:
    """Return what became of the layout on this way."""
    if row.survives is None:
        return "untried"
    if row.survives:
        return "kept"
    return "never" if row.always_lost else "lost"


def _words(rows: Sequence[Survival]) -> str:
    """Count the ways that keep the layout."""
    results = [result_of(row) for row in rows]
    kept, lost, never = (results.count(each) for each in ("kept", "lost", "never"))
    ways = notation.count(len(rows), "way")
    said = f"{kept} of {ways} of loading keep{'s' * (kept == 1)} the layout"
    said += f"; {lost} lose{'s' * (lost == 1)} it, though other files keep it" if lost else ""
    said += f"; {never} never keep{'s' * (never == 1)} it, whatever the file" if never else ""
    return f"{said}."


def _row(row: Survival, used: Sequence[Result]) -> list[Markup]:
    found = result_of(row)
    _, mark, state = _COLUMNS[found]
    marked = element("span", mark, class_=f"tag {state}")
    cells = [tables.cell(*[marked] * (each == found), class_="sign") for each in used]
    named = element("th", element("code", row.route), element("small", row.message), scope="row")
    return [named, *cells]
