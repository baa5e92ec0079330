"""A comparison in lines: its parts with their titles, for a terminal and for Markdown.

Only what changed has a line. Nothing is escaped yet: names come from the sender.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from convlast.report.changes import (
    Comparison,
    FieldChange,
    FindingChange,
    FindingChanges,
    Judgement,
    LayerChange,
    LayerChanges,
    Side,
    TimeChange,
)
from convlast.report.listing import listed
from convlast.report.rendering import notation, summary
from convlast.report.rendering.comparison.values import shortened, title, value

SHOWN = {"verdict", "input.filename", "input.sha256"}
"""Facts that stand above, where both reports are described."""

_MAX_NAMED = 3


class Line(NamedTuple):
    """A line.

    Attributes:
        subject: The name of what changed.
        text: What became of it.
    """

    subject: str
    text: str


class Part(NamedTuple):
    """A part of a comparison.

    Attributes:
        title: Its title.
        lines: What changed.
    """

    title: str
    lines: list[Line]


def headline(comparison: Comparison) -> str:
    """Say in a few words what became of the report."""
    if not comparison.changed:
        return "Nothing changed"
    trends = comparison.trends
    if trends == {"better", "worse"}:
        return "Better and worse"
    if trends:
        return "Changed for the worse" if trends == {"worse"} else "Changed for the better"
    return "Changed, neither better nor worse"


def sides(comparison: Comparison) -> list[Line]:
    """Describe both reports, a line each."""
    return [
        Line("Before", _side(comparison.before)),
        Line("After", _side(comparison.after)),
    ]


def parts(comparison: Comparison) -> Iterator[Part]:
    """Yield the parts in which something changed; what got worse comes first."""
    layers, files = comparison.layers, comparison.files
    found = {
        "Worse": [*map(_judged, comparison.regressions)],
        "Better": [*map(_judged, comparison.improvements)],
        "The result": _fields(each for each in comparison.facts if each.field not in SHOWN),
        "Findings": [*_findings(comparison.findings)],
        "Layers": [*_layers(layers)],
        "Times": [*map(_time, comparison.times.changed)],
        "Files": [Line(each.path, _changes(each.changes)) for each in files.changed]
        + [Line(path, "went") for path in files.went]
        + [Line(path, "came") for path in files.came],
        "Options": _fields(comparison.options),
        "Environment": _fields(comparison.environment),
    }
    for name, lines in found.items():
        if lines:
            yield Part(name, lines)


def counts(comparison: Comparison) -> list[Line]:
    """Say of each part how much of it came, went, changed and stayed."""
    found = {
        "Findings": comparison.findings,
        "Layers": comparison.layers,
        "Errors": comparison.errors,
        "Times": comparison.times,
        "Ways of loading": comparison.survival,
        "Files": comparison.files,
    }
    return [Line(name, said) for name, part in found.items() if (said := counted(part))]


def counted(part: object) -> str:
    """Say how many things came, went, changed, stayed, or are in one report only.

    >>> counted(LayerChanges(unchanged=4))
    '4 unchanged.'
    """
    names = {
        "changed": "changed",
        "went": "went",
        "came": "came",
        "only_before": "only before",
        "only_after": "only after",
        "unchanged": "unchanged",
    }
    found = {said: getattr(part, name, 0) for name, said in names.items()}
    counts = {
        said: number if isinstance(number, int) else len(number) for said, number in found.items()
    }
    text = ", ".join(f"{number:,} {said}" for said, number in counts.items() if number)
    return f"{text}." if text else ""


def groups(layers: LayerChanges) -> list[list[LayerChange]]:
    """Put layers together that changed in the same way."""
    found: dict[str, list[LayerChange]] = {}
    for change in layers.changed:
        found.setdefault(repr(change.changes), []).append(change)
    return list(found.values())


def _side(side: Side) -> str:
    device = f"{side.device}, {side.gpu}" if side.gpu else side.device
    made = f", made {side.made_at}" if side.made_at else ""
    return (
        f"{side.filename}: {summary.VERDICTS[side.verdict]}. "
        f"{notation.count(side.layers, 'layer')}, convlast {side.convlast}, torch {side.torch}, "
        f"{device}{made}"
    )


def _judged(judgement: Judgement) -> Line:
    about = f"{judgement.part}: {judgement.about}" if judgement.about else judgement.part
    return Line(about, judgement.message)


def _fields(changes: Iterable[FieldChange]) -> list[Line]:
    return [Line(title(each.field), _values(each)) for each in changes]


def _values(change: FieldChange) -> str:
    return f"{value(change.field, change.before)} → {value(change.field, change.after)}"


def _changes(changes: Iterable[FieldChange]) -> str:
    return "; ".join(f"{title(each.field)} {_values(each)}" for each in changes)


def _findings(found: FindingChanges) -> Iterator[Line]:
    for said, findings in (("came", found.came), ("went", found.went)):
        for each in findings:
            yield Line(f"{each.severity} {each.code} {said}", shortened(each.message))
    yield from map(_reworded, found.changed)


def _reworded(change: FindingChange) -> Line:
    texts = map(shortened, (change.before, change.after))
    return Line(f"{change.severity} {change.code}", " → ".join(texts))


def _layers(found: LayerChanges) -> Iterator[Line]:
    for group in groups(found):
        names = listed([shortened(each.name) for each in group], at_most=_MAX_NAMED)
        yield Line(names, _changes(group[0].changes))
    for said, layers in (("went", found.went), ("came", found.came)):
        for each in layers:
            facts = f"{notation.shape(each.shape)} {each.dtype}, {summary.STATUSES[each.status]}"
            yield Line(each.name, f"{said}: {facts}")


def _time(change: TimeChange) -> Line:
    under = "autocast" if change.autocast else change.dtype
    shape = notation.shape(change.input_shape or []) or "the model"
    said = []
    for point in (change.before, change.after):
        times = " and ".join(map(notation.duration, (point.contiguous_s, point.converted_s)))
        said.append(f"{point.speedup:.2f} ± {point.spread:.2f} × ({times})")
    where = "" if change.representative else ", on a CPU"
    return Line(f"{shape}, {under}{where}", " → ".join(said))
