"""The layers of a file as a table: a row each, with its error and its order in memory drawn."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from convlast.report.rendering import notation, summary, tables
from convlast.report.rendering.markup import Markup, element
from convlast.report.sections import Layer, LayerSmoke, Parity, Status

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
MANY = 20
"""If more rows than this have no problem, the script of the page collapses them."""

_SHOWN = 5
"""So many rows without a problem are shown nevertheless: those closest to their threshold."""

_PAIRS = {"dtype": "fp16", "layout": "layout"}
_DIMENSIONS = "NCDHW"
"""PyTorch's names of the dimensions, in the order of a shape."""

_WIDTH, _BAR = 150, 7
_DECADES = 12
"""The most powers of ten on the axis; what is smaller is drawn at its beginning."""


@dataclass(frozen=True)
class _Scale:
    """A logarithmic axis between two powers of ten."""

    low: int
    high: int

    def x(self, value: float) -> str:
        """Return where a value above 0 is drawn."""
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return f"{_WIDTH * min(max(share, 0.0), 1.0):.0f}"


def draw(layers: Sequence[Layer]) -> Markup:
    """Write the layers as a table."""
    scale = _scale_of(layers)
    headers = ["Layer", "Status", "Size", "Order in memory"]
    titles = [element("th", text, scope="col") for text in headers]
    if scale:
        titles.insert(2, element("th", "Error in fp16", _axis(scale), scope="col"))
    fine = _collapsible(layers)
    rows = (
        element("tr", *_cells(layer, scale), **({"class_": "fine"} if index in fine else {}))
        for index, layer in enumerate(layers)
    )
    return tables.assemble(titles, rows, class_="layers")


def legend(layers: Sequence[Layer]) -> Markup:
    """Say how the table is read."""
    text = "Order in memory: the innermost dimension is marked, as PyTorch names them."
    if _scale_of(layers):
        text = f"Error in fp16: the bar is the error, the line the largest that passes. {text}"
    return element("p", text, class_="note")


def _scale_of(layers: Iterable[Layer]) -> _Scale | None:
    """Return an axis with all errors and thresholds; None if nothing was compared."""
    values = [
        math.log10(value)
        for layer in layers
        for parity in _parities(layer)
        for value in (parity.relative, parity.threshold)
        if value
    ]
    if not values:
        return None
    high = math.floor(max(values)) + 1
    return _Scale(max(math.floor(min(values)), high - _DECADES), high)


def _parities(layer: Layer) -> list[Parity]:
    found = (summary.find_parity(layer.smoke, pair) for pair in _PAIRS)
    return [parity for parity in found if parity]


def _collapsible(layers: Sequence[Layer]) -> frozenset[int]:
    """Return which rows the page collapses: those without a problem, if they are many."""
    fine = [index for index, layer in enumerate(layers) if not summary.is_troubled(layer)]
    if len(fine) <= MANY:
        return frozenset()
    fine.sort(key=lambda index: _nearness(layers[index]), reverse=True)
    return frozenset(fine[_SHOWN:])


def _nearness(layer: Layer) -> float:
    """Return the largest error as a share of what passes."""
    errors = (each.relative / each.threshold for each in _parities(layer) if each.relative)
    return max(errors, default=0.0)


def _axis(scale: _Scale) -> Markup:
    marks = []
    step = 2 if scale.high - scale.low > 4 else 1
    for exponent in range(scale.low, scale.high + 1, step):
        x, anchor = scale.x(10.0**exponent), "middle"
        if exponent == scale.low:
            anchor = "start"
        elif exponent == scale.high:
            anchor = "end"
        marks.append(element("text", f"1e{exponent}", x=x, y="10", text_anchor=anchor))
    title = element("title", f"A logarithmic axis from 1e{scale.low} to 1e{scale.high}")
    return _picture("axis", 14, title, *marks)


def _cells(layer: Layer, scale: _Scale | None) -> Iterator[Markup]:
    yield _name(layer)
    yield _status(layer)
    if scale:
        yield _errors(layer, scale)
    yield tables.cell(notation.size(layer.bytes), class_="number")
    yield _strides(layer)


def _name(layer: Layer) -> Markup:
    """Write the name of a layer, with its numbers on demand."""
    terms = (part for k, v in _numbers(layer) for part in (element("dt", k), element("dd", v)))
    name = element("summary", element("code", layer.name))
    return element("th", element("details", name, element("dl", *terms)), scope="row")


def _numbers(layer: Layer) -> Iterator[tuple[str, str]]:
    groups = f", {layer.groups} groups" if layer.groups and layer.groups > 1 else ""
    yield "Weight", f"{notation.shape(layer.shape)} {layer.dtype}{groups}"
    yield "Kind", f"{layer.kind}: {layer.evidence}"
    strides = dict.fromkeys(map(notation.strides, (layer.stride_before, layer.stride_after)))
    yield "Strides", " → ".join(strides)
    if layer.smoke:
        yield from _numbers_of_smoke(layer.smoke)


def _numbers_of_smoke(smoke: LayerSmoke) -> Iterator[tuple[str, str]]:
    if smoke.input_shape:
        output = f", output {smoke.output_memory_format}" if smoke.output_memory_format else ""
        yield "Input", f"{notation.shape(smoke.input_shape)}{output}"
    for parity in smoke.parity:
        yield (
            f"Error of {_PAIRS.get(parity.pair, parity.pair)}",
            f"{notation.magnitude(parity.relative)} of at most "
            f"{notation.magnitude(parity.threshold)}",
        )
    if smoke.finite is False:
        yield "Output", "not finite"


def _status(layer: Layer) -> Markup:
    tags = [tables.tag(layer.status, STATUS_STATES.get(layer.status, "unknown"))]
    notes = [layer.reason, f"same as {layer.alias_of}" if layer.alias_of else None]
    if layer.smoke:
        state = _SMOKE_STATES.get(layer.smoke.status, "unknown")
        tags.append(tables.tag(f"fp16 {layer.smoke.status}", state))
        notes.append(layer.smoke.reason)
    small = (element("small", note) for note in notes if note)
    return tables.cell(*tags, *small, class_="status")


def _errors(layer: Layer, scale: _Scale) -> Markup:
    """Draw each error as a bar, with a line at its threshold."""
    parities = _parities(layer)
    if not parities:
        return tables.cell("–")
    drawn: list[Markup] = []
    said = []
    wrong: summary.State = "bad" if layer.smoke and layer.smoke.status == "failed" else "caution"
    for row, parity in enumerate(parities):
        drawn += _bar(parity, scale, row * (_BAR + 3), "good" if parity.passed else wrong)
        said.append(f"{_PAIRS[parity.pair]} {notation.magnitude(parity.relative)}")
    title = element("title", f"Error: {', '.join(said)}")
    picture = _picture("bars", len(parities) * (_BAR + 3), title, *drawn)
    errors = [parity.relative for parity in parities]
    worst = "Infinity" if None in errors else f"{max(filter(None, errors), default=0.0):.3g}"
    return element("td", picture, element("small", " · ".join(said)), data_sort=worst)


def _bar(parity: Parity, scale: _Scale, y: int, state: summary.State) -> Iterator[Markup]:
    width = str(_WIDTH) if parity.relative is None else "0"
    if parity.relative:
        width = scale.x(parity.relative)
    if parity.relative != 0:
        size = {"width": str(max(int(width), 1)), "height": str(_BAR)}
        yield element("rect", y=str(y + 1), class_=state, **size)
    yield element("path", d=f"M{scale.x(parity.threshold)} {y}v{_BAR + 2}")


def _picture(name: str, height: int, *content: Markup) -> Markup:
    size = {"width": str(_WIDTH), "height": str(height), "viewBox": f"0 0 {_WIDTH} {height}"}
    return element("svg", *content, class_=name, role="img", **size)


def _strides(layer: Layer) -> Markup:
    """Draw the dimensions from the outermost to the innermost, before and after."""
    orders = [
        order_of(layer.shape, strides) for strides in (layer.stride_before, layer.stride_after)
    ]
    if layer.stride_before == layer.stride_after:
        return tables.cell(_order(orders[0]), class_="orders")
    return tables.cell(_order(orders[0]), " → ", _order(orders[1]), class_="orders")


def order_of(shape: Sequence[int], strides: Sequence[int]) -> str:
    """Name the dimensions of a weight in their order in memory, the innermost last.

    >>> order_of([64, 32, 3, 3, 3], [864, 1, 288, 96, 32])
    'NDHWC'
    """
    found = sorted(range(len(shape)), key=lambda index: (-strides[index], -shape[index]))
    return "".join(_DIMENSIONS[index] for index in found)


def _order(order: str) -> Markup:
    boxes = [element("i", name) for name in order[:-1]]
    return element(
        "span",
        *boxes,
        element("em", order[-1]),
        class_="order",
        role="img",
        aria_label=f"{order}, {order[-1]} innermost",
    )
