"""The smoke's sections of the page: parity, the chain, ranges, kernels and times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from convlast.report.rendering import chain, notation, summary, tables
from convlast.report.rendering.markup import Markup, element
from convlast.report.smoke import Activation, Dispatch, Parity, Range, Smoke, Timing

MAX_ROWS = 20
"""The most modules in the table of activations: those with the least headroom."""

PAIRS = {
    "dtype": "fp16 against fp32, contiguous",
    "layout": "converted weights against contiguous ones, fp16",
    "layout_input": "the same, with a channels-last input",
    "autocast": "autocast against fp32, contiguous",
    "autocast_layout": "converted weights against contiguous ones, autocast",
    "layout_float32": "converted weights against contiguous ones, fp32",
    "bfloat16": "bfloat16 against fp32",
    "kept_in_float32": "fp16 with some modules in fp32, against fp32",
}
ROUTES = {
    "cudnn-ndhwc": "cuDNN, NDHWC",
    "cudnn-ncdhw": "cuDNN, NCDHW",
    "cudnn": "cuDNN",
    "native": "PyTorch's own",
    "slow": "slow fallback",
    "unknown": "unknown",
}


def sections(smoke: Smoke) -> Iterator[tuple[str, Markup]]:
    """Yield the title and content of each section that is not empty."""
    if smoke.scope == "model":
        yield "The whole model in fp16", element("div", _facts(smoke), _parity(smoke.parity))
    if smoke.trace:
        yield "The layout through the model", chain.draw(smoke.trace, smoke.permutations)
    if smoke.flips:
        yield "Modules that change the layout", tables.flips(smoke.flips)
    if smoke.timings:
        yield "Times", _timings(smoke.timings)
    if smoke.dispatch:
        yield "Kernels", _dispatch(smoke.dispatch)
    if smoke.range:
        yield "Values that fp16 cannot hold, or only just", _ranges(smoke.range)
    if smoke.activations:
        yield "Activations in fp16", _activations(smoke.activations)


def _facts(smoke: Smoke) -> Markup:
    shape = notation.shape(smoke.input_shape) if smoke.input_shape else "–"
    facts = [f"{smoke.model}, found by {smoke.origin}, {smoke.entry} on {shape}."]
    if smoke.first_wrong:
        first = smoke.first_wrong
        facts.append(f"The first module that goes wrong is {first.module}: {first.message}.")
    if kept := smoke.kept_in_float32:
        helps = "helps" if kept.helps else "does not help"
        facts.append(f"Keeping {', '.join(kept.modules)} in fp32 {helps}.")
    if smoke.choice:
        facts.append(f"select=fastest converts {smoke.choice.chosen}.")
    return element("div", *(element("p", fact) for fact in facts), class_="note")


def _parity(parities: Sequence[Parity]) -> Markup:
    headers = ["Runs", "N", "Agrees", "Largest", "Passes", "Mean", "99 %", "Cosine", "NaN, ∞"]
    return tables.table(headers, map(_parity_row, parities), numbers_from=3)


_AGREEMENT: dict[bool | None, tuple[str, summary.State]] = {
    True: ("yes", "good"),
    False: ("no", "bad"),
    None: ("undecided", "caution"),
}
"""What a parity says of two runs, and how good that is."""


def _parity_row(parity: Parity) -> list[Markup]:
    agrees, state = _AGREEMENT[parity.passed]
    near = (parity.quantiles or {}).get("0.99")
    numbers = [
        notation.magnitude(parity.relative),
        notation.magnitude(parity.threshold),
        notation.magnitude(parity.mean_abs),
        "–" if near is None else notation.magnitude(near),
        "–" if parity.cosine is None else f"{parity.cosine:.6f}",
        f"{parity.nan:,}, {parity.inf:,}",
    ]
    return [
        tables.named(PAIRS.get(parity.pair, parity.pair)),
        tables.cell(str(parity.samples or "–")),
        tables.cell(tables.tag(agrees, state)),
        *(tables.cell(number, class_="number") for number in numbers),
    ]


def _activations(rows: Sequence[Activation]) -> Markup:
    """Write the modules whose outputs come close to the limits of fp16."""
    headers = ["Module", "Kind", "Largest", "Headroom", "Overflow", "Vanish", "fp16's error"]
    near = [row for row in rows if row.overflow or summary.is_near_limit(row)]
    near.sort(key=lambda row: (row.headroom or float("inf"), -(row.relative or 0)))
    shown = near[:MAX_ROWS]
    written = [tables.table(headers, map(_activation_row, shown), numbers_from=2)] if shown else []
    if left_out := len(rows) - len(shown):
        text = f"{notation.count(left_out, 'module')}, with more room in fp16: see the JSON report."
        written.append(element("p", text, class_="note"))
    return element("div", *written)


def _ranges(rows: Sequence[Range]) -> Markup:
    """Write the tensors whose values come close to the limits of fp16."""
    near = [row for row in rows if row.overflow or row.nonfinite or summary.is_near_limit(row)]
    written = [tables.ranges(near)] if near else []
    if left_out := len(rows) - len(near):
        number = notation.count(left_out, "tensor")
        text = f"{number}, of which few values vanish in fp16: see the JSON report."
        written.append(element("p", text, class_="note"))
    return element("div", *written)


def _activation_row(row: Activation) -> list[Markup]:
    numbers = [
        notation.magnitude(row.absmax),
        notation.times(row.headroom),
        f"{row.overflow:,}",
        f"{row.underflow_share:.1%}",
        "–" if row.relative is None else notation.magnitude(row.relative),
    ]
    return [
        tables.named(row.module),
        tables.cell(row.kind),
        *(tables.cell(number, class_="number") for number in numbers),
    ]


def _timings(rows: Sequence[Timing]) -> Markup:
    headers = ["Input", "Under", "Contiguous", "Converted", "Times as fast", "Memory", "Counts"]
    return tables.table(headers, map(_timing_row, rows), numbers_from=2)


def _timing_row(row: Timing) -> list[Markup]:
    under = ["autocast" if row.autocast else row.dtype]
    under += ["cudnn.benchmark"] if row.cudnn_benchmark else []
    peaks = [row.contiguous_peak_bytes, row.converted_peak_bytes]
    counts = "no: a CPU" if not row.representative else "yes" if row.stable else "unstable"
    numbers = [
        notation.duration(row.contiguous_s),
        notation.duration(row.converted_s),
        f"{row.speedup:.2f} ± {row.spread:.2f}",
        ", ".join(notation.size(peak) for peak in peaks if peak is not None) or "–",
        counts,
    ]
    return [
        tables.named(notation.shape(row.input_shape or [])),
        tables.cell(", ".join(under)),
        *(tables.cell(number, class_="number") for number in numbers),
    ]


def _dispatch(rows: Sequence[Dispatch]) -> Markup:
    layers = list(dict.fromkeys(row.layer for row in rows))
    by_key = {(row.layer, row.weights): row for row in rows}
    cells = []
    for layer in layers:
        ran = [by_key.get((layer, "contiguous")), by_key.get((layer, "converted"))]
        cells.append([tables.named(layer), *(_ran(row) for row in ran)])
    return tables.table(["Convolution", "Contiguous", "Converted"], cells)


def _ran(row: Dispatch | None) -> Markup:
    if row is None:
        return tables.cell("–")
    kernel = element("small", row.kernels[0] if row.kernels else "no kernel seen")
    return tables.cell(f"{ROUTES[row.route]}, {notation.duration(row.seconds)}", kernel)
