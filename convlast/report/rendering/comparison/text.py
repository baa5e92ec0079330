"""Two reports side by side, in a terminal: what got worse comes first."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType

from convlast.report.changes import Comparison
from convlast.report.rendering import notation
from convlast.report.rendering.comparison import outline
from convlast.report.rendering.comparison.outline import Line
from convlast.report.rendering.comparison.values import shortened
from convlast.report.rendering.paragraph import Paragraph, below, plain

MAX_LINES = 20
"""The most lines of a part; the JSON has all."""

_STYLES = {"Worse": "bold yellow", "Better": "bold green"}
_WIDTH = 17


def render(comparison: Comparison) -> RenderableType:
    """Render a comparison for a terminal."""
    return Group(*_lines(comparison))


def _lines(comparison: Comparison) -> Iterator[RenderableType]:
    yield below(plain(f"{outline.headline(comparison)}.", "bold"), 0)
    yield plain("")
    yield from map(_labelled, outline.sides(comparison))
    for part in outline.parts(comparison):
        yield plain("")
        yield plain(part.title, _STYLES.get(part.title, "bold"))
        for line in part.lines[:MAX_LINES]:
            yield below(plain(f"{shortened(line.subject)}: {line.text}"))
        if len(part.lines) > MAX_LINES:
            more = notation.count(len(part.lines) - MAX_LINES, "more line")
            yield below(plain(f"{more}; --json has all.", "dim"))
    yield plain("")
    yield from map(_labelled, outline.counts(comparison))


def _labelled(line: Line) -> Paragraph:
    return Paragraph(plain(line.subject, "dim"), plain(line.text), _WIDTH)
