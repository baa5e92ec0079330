"""Two reports side by side, as Markdown for a merge request or the page of a job.

All text from the reports passes `prose.code` or `prose.words`: it never becomes markup, a link or a
mention.
"""

from __future__ import annotations

from collections.abc import Iterator

from convlast.report.changes import Comparison
from convlast.report.rendering.comparison import outline
from convlast.report.rendering.pipelines.prose import code, words

MAX_BYTES = 60_000
"""The most bytes, below what merge requests and pages of jobs take; the JSON has all."""

_MOST_BYTES = 1200
"""The most bytes of the text of a line."""

_CUT = "\nThe rest is left out; `--json` has all.\n"


def render(comparison: Comparison) -> str:
    """Render a comparison as Markdown, within `MAX_BYTES`."""
    text, room = "", MAX_BYTES - len(_CUT)
    for line in _lines(comparison):
        room -= len(line.encode()) + 1
        if room < 0:
            return text + _CUT
        text += f"{line}\n"
    return text


def _lines(comparison: Comparison) -> Iterator[str]:
    yield f"## {outline.headline(comparison)}"
    yield ""
    for line in outline.sides(comparison):
        yield f"- {line.subject}: {words(line.text, _MOST_BYTES)}"
    for part in outline.parts(comparison):
        yield f"\n### {part.title}\n"
        for line in part.lines:
            yield f"- {code(line.subject)}: {words(line.text, _MOST_BYTES)}"
    counts = outline.counts(comparison)
    if counts:
        yield "\n### In numbers\n"
    for line in counts:
        yield f"- {line.subject}: {line.text}"
