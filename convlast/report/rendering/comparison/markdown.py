"""Two reports side by side, as Markdown for a merge request or the page of a job.

What comes from the reports stands in code spans: nothing in one is markup, a link or a mention.
Source: https://github.github.com/gfm/#code-spans
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from convlast.report.changes import Comparison
from convlast.report.rendering.comparison import outline
from convlast.report.rendering.comparison.values import shortened
from convlast.report.rendering.notation import printable

MAX_BYTES = 60_000
"""The most bytes, below what merge requests and pages of jobs take; the JSON has all."""

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
        yield f"- {line.subject}: {code(line.text)}"
    for part in outline.parts(comparison):
        yield f"\n### {part.title}\n"
        for line in part.lines:
            yield f"- {code(shortened(line.subject))}: {code(line.text)}"
    counts = outline.counts(comparison)
    if counts:
        yield "\n### In numbers\n"
    for line in counts:
        yield f"- {line.subject}: {line.text}"


def code(text: str) -> str:
    r"""Write text as a code span that nothing in it can end.

    >>> code("a`b``c"), code("`"), code("")
    ('```a`b``c```', '`` ` ``', '` `')
    """
    shown = printable(text) or " "
    longest = max(map(len, re.findall("`+", shown)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if shown.strip("`") != shown else ""
    return f"{fence}{pad}{shown}{pad}{fence}"
