"""The chain of modules as one strip, coloured by the layout that each module hands on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from convlast.report.rendering import notation, tables
from convlast.report.rendering.chain import Link, layout_name, links_of, words_on
from convlast.report.rendering.drawings import svg
from convlast.report.rendering.drawings.names import shortened
from convlast.report.rendering.markup import Markup, element
from convlast.report.smoke import Flip, Smoke, is_in_5d

MAX_LINKS = 80
"""The most stretches that are drawn and listed; the JSON report has every step."""

MAX_OPEN = 12
"""A longer list of changes is folded."""

_TOP, _HEIGHT, _FULL = 22, 84, 36
_HEIGHTS = {"channels_last_3d": _FULL, "contiguous_format": 24, "both": 14, "strided": 18}
_FLAT = 8
_WIDE = 9.0
"""A stretch at least this wide, in percent, has room for its number of modules."""
_APART = 6.5
"""Numbers of marks need this much room, in percent."""
_MAX_LINES = 24
"""More marks than this end above the strip, which they would hide."""


@dataclass(frozen=True)
class _Mark:
    """A place where the chain changes.

    Attributes:
        number: Its number, in the picture and in the table.
        link: The stretch that begins there.
        before: The layout before it.
        flip: What the smoke knows of it; None for the input's own permutation, and for a break.
    """

    number: int
    link: Link
    before: str
    flip: Flip | None

    @property
    def is_break(self) -> bool:
        """Whether the activations stop being 5-D here, or start."""
        return is_in_5d(self.before) != is_in_5d(self.link.layout)


def chain(smoke: Smoke) -> Markup:
    """Draw the model in the order it ran, with a table of the places where the layout changes."""
    every = links_of(smoke.trace)
    links = every[:MAX_LINKS]
    marks = list(_marks(links, smoke.flips))
    parts = [svg.framed(_picture(links, marks), _legend(every))]
    if smoke.permutations:
        parts.insert(0, element("p", words_on(smoke.permutations), class_="note"))
    if len(every) > MAX_LINKS:
        left_out = f"… and {len(every) - MAX_LINKS:,} more stretches; the JSON report has all."
        parts.append(element("p", left_out, class_="note"))
    if marks:
        parts.append(_changes(marks))
    parts.append(_listed(links))
    return element("div", *parts, class_="chain")


def _marks(links: Sequence[Link], flips: Sequence[Flip]) -> Iterator[_Mark]:
    """Yield each place where a module permutes, or where activations stop or start being 5-D."""
    left = list(flips)
    before = links[0].steps[0].input_memory_format if links else ""
    number = 0
    for link in links:
        first = link.steps[0]
        if link.permutes or is_in_5d(before) != is_in_5d(link.layout):
            number += 1
            flip = next((each for each in left if each.module == first.module), None)
            if flip is not None:
                left.remove(flip)
            yield _Mark(number, link, first.input_memory_format if link.permutes else before, flip)
        before = link.layout


def _widths(links: Sequence[Link]) -> list[float]:
    """Return the width of each stretch in percent; a long one grows slower than its length."""
    weights = [len(link.steps) ** 0.5 for link in links]
    return [100 * weight / sum(weights) for weight in weights]


def _picture(links: Sequence[Link], marks: Sequence[_Mark]) -> Markup:
    edges = [0.0, *accumulate(_widths(links))]
    drawn = [
        _stretch(link, left, right)
        for link, (left, right) in zip(links, pairwise(edges), strict=True)
    ]
    places = {id(link): left for link, left in zip(links, edges, strict=False)}
    last = -_APART
    for mark in marks:
        place = places[id(mark.link)]
        has_room = place - last >= _APART or mark.number == 1
        bottom = _TOP + _FULL + 4 if len(marks) <= _MAX_LINES else _TOP - 1
        drawn.append(_drawn_mark(mark, place, bottom, has_number=has_room))
        last = place if has_room else last
    first, end = links[0].steps[0].module, links[-1].steps[-1].module
    base = _HEIGHT - 8
    drawn.append(svg.text(0, base, shortened(first, 22), "name"))
    if end != first:
        drawn.append(svg.text(100, base, shortened(end, 22), "name", anchor="end"))
    return svg.picture(_title(links, marks), *drawn, height=_HEIGHT, kind="strip")


def _title(links: Sequence[Link], marks: Sequence[_Mark]) -> str:
    """Say what the picture shows."""
    modules = notation.count(sum(len(link.steps) for link in links), "module")
    changes = sum(mark.link.permutes for mark in marks)
    breaks = sum(mark.is_break for mark in marks)
    facts = [f"the layout changes {notation.count(changes, 'time')}" if changes else ""]
    facts += [f"5-D begins or ends {notation.count(breaks, 'time')}" if breaks else ""]
    told = " and ".join(filter(None, facts)) or f"all hand on {layout_name(links[0].layout)}"
    return f"The layout that each of {modules} hands on, in the order they ran: {told}."


def _height(layout: str) -> int:
    return _HEIGHTS.get(layout, _FLAT)


def _stretch(link: Link, left: float, right: float) -> Markup:
    """Draw one stretch; the better the layout for a GPU, the higher it is."""
    height, number = _height(link.layout), len(link.steps)
    width = right - left
    gap = min(0.25, width / 5)
    block = svg.bar(left, right - gap, _TOP + _FULL - height, height, f"stretch {_kind(link)}")
    parts = [block]
    if number > 1 and width >= _WIDE and height >= 14:
        middle = _TOP + _FULL - height / 2 + 4
        parts.append(svg.text((left + right) / 2, middle, f"{number:,}", "inside", anchor="middle"))
    tip = f"{layout_name(link.layout)}: {link.title} {link.rest}".rstrip()
    return svg.group(*parts, tip=shortened(tip, 300))


def _kind(link: Link) -> str:
    return link.layout if link.layout in _HEIGHTS else "flat"


def _drawn_mark(mark: _Mark, place: float, bottom: float, *, has_number: bool) -> Markup:
    kind = "mark break" if mark.is_break else "mark"
    parts = [svg.line(place, place, _TOP - 6, bottom, kind)]
    if has_number:
        anchor = "start" if place < 1 else "end" if place > 99 else "middle"
        parts.append(svg.text(place, _TOP - 9, str(mark.number), kind, anchor=anchor))
    return svg.group(*parts, tip=shortened(f"{mark.number}: {mark.link.title}", 300))


def _legend(links: Sequence[Link]) -> Markup:
    """Name the colours that occur, and how many modules have each."""
    counts: dict[str, int] = {}
    for link in links:
        counts[link.layout] = counts.get(link.layout, 0) + len(link.steps)
    kinds = {link.layout: _kind(link) for link in links}
    return svg.legend(
        *(
            (f"swatch {kinds[layout]}", f"{layout_name(layout)} ({notation.count(n, 'module')})")
            for layout, n in counts.items()
        )
    )


def _changes(marks: Sequence[_Mark]) -> Markup:
    """List the places where the layout changes, with what that costs."""
    has_times = any(mark.flip and mark.flip.seconds is not None for mark in marks)
    headers = ["Module", "No.", "Change", "Why", "Bytes", *(["Time"] if has_times else [])]
    rows = (_change(mark, has_times=has_times) for mark in marks)
    listed = tables.table(headers, rows, numbers_from=4)
    return listed if len(marks) <= MAX_OPEN else _folded(f"All {len(marks)} changes", listed)


def _change(mark: _Mark, *, has_times: bool) -> list[Markup]:
    first, flip = mark.link.steps[0], mark.flip
    moved = notation.size(flip.bytes) if flip and flip.bytes else "–"
    change = f"{layout_name(mark.before)} → {layout_name(mark.link.layout)}"
    times = f", {flip.times} times" if flip and flip.times > 1 else ""
    cells = [
        tables.named(first.module),
        tables.cell(str(mark.number)),
        tables.cell(change, element("small", f"{first.kind}{times}"), class_="nowrap"),
        tables.cell(_why(mark)),
        tables.cell(moved, class_="number"),
    ]
    if has_times:
        known = flip is not None and flip.seconds is not None
        spent = notation.duration(flip.seconds) if known and flip and flip.seconds else "–"
        cells.append(tables.cell(spent, class_="number"))
    return cells


def _why(mark: _Mark) -> str:
    """Say why the layout changes here."""
    if mark.is_break:
        copies = f", with a copy by {mark.flip.operator}" if mark.flip else ""
        return f"5-D {'ends' if is_in_5d(mark.before) else 'begins again'} here{copies}"
    if mark.flip is None:
        return "the input has to change once"
    if mark.flip.cause:
        return f"back again, after {mark.flip.cause}"
    return f"its {mark.flip.operator}" if mark.flip.operator else "it permutes"


def _listed(links: Sequence[Link]) -> Markup:
    """List all stretches in a table that opens on demand."""
    rows = (
        [
            tables.named(link.steps[0].module),
            tables.cell(layout_name(link.layout)),
            tables.cell(link.steps[-1].module),
            tables.cell(f"{len(link.steps):,}", class_="number"),
        ]
        for link in links
    )
    listed = tables.table(["From", "Layout", "To", "Modules"], rows, numbers_from=3)
    return _folded("Every stretch of the picture, as a table", listed)


def _folded(title: str, listed: Markup) -> Markup:
    """Put a table into an element that opens on demand."""
    return element("details", element("summary", title), listed)
