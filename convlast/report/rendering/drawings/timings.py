"""The times of the model: contiguous, converted, and as `select=fastest` chose."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from convlast.report.rendering import notation
from convlast.report.rendering.drawings import svg
from convlast.report.rendering.drawings.axis import Axis, axis_for
from convlast.report.rendering.markup import Markup, element
from convlast.report.smoke import Choice, Smoke, Timing

_TOP, _ROW = 26, 40
_NAMES, _PLOT = 32.0, 48.0
_DTYPES = {"float16": "fp16", "float32": "fp32", "bfloat16": "bf16"}


@dataclass(frozen=True)
class _Row:
    """The times under one setting.

    Attributes:
        name: The input.
        under: What else was set.
        contiguous_s: The time with contiguous weights.
        converted_s: The time with all weights converted.
        fastest_s: The time of what `select=fastest` chose, if that is neither of them.
        speedup: How many times as fast the converted weights are, or the chosen ones.
        spread: Half the interquartile range of that ratio.
        is_stable: Whether the ratio is known well.
    """

    name: str
    under: str
    contiguous_s: float
    converted_s: float | None
    fastest_s: float | None
    speedup: float
    spread: float
    is_stable: bool = True

    @property
    def best_s(self) -> float:
        """The time that `speedup` is about."""
        return self.fastest_s or self.converted_s or self.contiguous_s

    @property
    def whisker_s(self) -> tuple[float, float]:
        """The time at both ends of the spread."""
        fast, slow = self.speedup + self.spread, max(self.speedup - self.spread, 0.05)
        return self.contiguous_s / fast, self.contiguous_s / slow


def times(smoke: Smoke) -> Markup:
    """Draw a dot for each way to lay the weights out, under each setting."""
    counted = [row for row in smoke.timings if row.representative]
    rows = [_of_timing(row) for row in counted or smoke.timings]
    rows += _of_choice(smoke.choice) if smoke.choice else []
    seconds = [spent for row in rows for spent in _drawn_s(row)]
    axis = axis_for([max(spent, 1e-9) for spent in seconds])
    bottom = _TOP + _ROW * len(rows)
    plots, labels = list(_grid(axis, bottom)), []
    for index, row in enumerate(rows):
        middle = _TOP + _ROW * (index + 0.5)
        plots.append(_dots(row, axis, middle))
        labels += _labels(row, middle)
    tells = bool(counted) or bool(smoke.choice)
    drawn = svg.picture(
        _title(rows, tells=tells),
        svg.part(*labels, left=0, width=_NAMES - 1, kind="names"),
        svg.part(*plots, left=_NAMES + 1, width=_PLOT, kind="plot"),
        *(_ratio(row, _TOP + _ROW * (index + 0.5)) for index, row in enumerate(rows)),
        height=bottom + 4,
        kind="times" if tells else "times grey",
    )
    says = "Timed on a CPU. This says nothing about a GPU."
    warned = [] if tells else [element("p", says, class_="note")]
    return svg.framed(*warned, drawn, _legend(rows, tells=tells))


def _title(rows: Sequence[_Row], *, tells: bool) -> str:
    """Say what the picture shows."""
    said = f"The time of a forward under {notation.count(len(rows), 'setting')}"
    if not tells:
        return f"{said}, on a CPU, which says nothing about a GPU."
    ratios = [row.speedup for row in rows]
    slowest, fastest = f"{min(ratios):.2f}", f"{max(ratios):.2f}"
    between = slowest if slowest == fastest else f"{slowest} to {fastest}"
    return f"{said}: converted weights are {between} times as fast as contiguous ones."


def _of_timing(row: Timing) -> _Row:
    dtype = row.dtype.partition(" ")[0]
    under = ["autocast" if row.autocast else _DTYPES.get(dtype, dtype)]
    under += ["benchmark"] if row.cudnn_benchmark else []
    return _Row(
        notation.shape(row.input_shape or []) or "the model", ", ".join(under),
        row.contiguous_s, row.converted_s, None, row.speedup, row.spread, row.stable,
    )  # fmt: skip


def _of_choice(choice: Choice) -> Iterator[_Row]:
    """Yield the row of `select=fastest`; nothing if its times are not there."""
    if "none" not in choice.seconds:
        return
    fastest_s = choice.seconds.get("some") if choice.chosen == "some" else None
    yield _Row(
        "select=fastest", f"converts {choice.chosen}",
        choice.seconds["none"], choice.seconds.get("all"), fastest_s,
        choice.speedup, choice.spread,
    )  # fmt: skip


def _drawn_s(row: _Row) -> list[float]:
    """Return all times that are drawn in a row."""
    return [s for s in (row.contiguous_s, row.converted_s, row.fastest_s) if s is not None]


def _grid(axis: Axis, bottom: float) -> Iterator[Markup]:
    for value in axis.ticks():
        place = axis.at(value)
        yield svg.line(place, place, _TOP - 4, bottom, "grid")
        yield svg.text(place, _TOP - 10, _tick(value), "tick", anchor="middle")


def _labels(row: _Row, middle: float) -> list[Markup]:
    return [
        svg.text(100, middle - 2, row.name, "name", anchor="end"),
        svg.text(100, middle + 12, row.under, "under", anchor="end"),
    ]


def _dots(row: _Row, axis: Axis, middle: float) -> Markup:
    """Draw the dots of one row, with the spread of the one that counts."""
    start, end = axis.at(row.contiguous_s), axis.at(row.best_s)
    left, right = map(axis.at, row.whisker_s)
    gain = "gain" if row.best_s < row.contiguous_s else "loss"
    parts = [
        svg.bar(min(start, end), max(start, end), middle - 1.5, 3, gain),
        svg.bar(left, right, middle - 5, 10, "spread"),
        svg.dot(start, middle, "contiguous"),
    ]
    if row.converted_s is not None:
        parts.append(svg.dot(axis.at(row.converted_s), middle, "all"))
    if row.fastest_s is not None:
        parts.append(svg.dot(axis.at(row.fastest_s), middle, "fastest"))
    return svg.group(*parts, tip=_tip(row))


def _tip(row: _Row) -> str:
    """Write the times of a row in words."""
    named = {"contiguous": row.contiguous_s, "all": row.converted_s, "fastest": row.fastest_s}
    listed = (f"{name} {notation.duration(s)}" for name, s in named.items() if s is not None)
    return f"{row.name}, {row.under}: {', '.join(listed)}"


def _ratio(row: _Row, middle: float) -> Markup:
    kind = "ratio" if row.is_stable else "ratio unstable"
    base = middle - 2 if row.spread else middle + 4
    parts = [svg.text(100, base, f"{row.speedup:.2f} ×", kind, anchor="end")]
    if row.spread:
        spread = f"± {row.spread:.2f}"
        parts.append(svg.text(100, middle + 12, spread, "under", anchor="end"))
    return svg.group(*parts)


def _legend(rows: Sequence[_Row], *, tells: bool) -> Markup:
    """Name the dots that occur."""
    kinds = {"contiguous": "contiguous"}
    if any(row.converted_s is not None for row in rows):
        kinds["all"] = "all converted"
    if any(row.fastest_s is not None for row in rows):
        kinds["fastest"] = "as select=fastest chose"
    items = [(f"spot {kind}", words) for kind, words in kinds.items()]
    if any(row.spread for row in rows):
        items.append(("swatch spread", "the middle half of the rounds"))
    return svg.legend(*items, kind="" if tells else "grey")


def _tick(seconds: float) -> str:
    """Write the time of a tick without zeros that say nothing.

    >>> _tick(1.0), _tick(0.02), _tick(0.0025), _tick(0.0)
    ('1 s', '20 ms', '2.5 ms', '0')
    """
    number, _, unit = notation.duration(seconds).partition(" ")
    digits = number.rstrip("0").rstrip(".") if "." in number else number
    return f"{digits} {unit}" if seconds else "0"
