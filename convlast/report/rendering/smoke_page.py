"""The smoke's sections of the page: parity, the chain, ranges, kernels and times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from convlast.report.rendering import drawings, notation, summary, tables
from convlast.report.rendering.markup import Markup, element
from convlast.report.smoke import Activation, Dispatch, OperatorTime, Parity, Smoke, Timing

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
        yield "The layout through the model", drawings.chain(smoke)
    elif smoke.flips:
        yield "Modules that change the layout", tables.flips(smoke.flips)
    if smoke.timings or (smoke.choice and smoke.choice.seconds):
        yield "Times", _times(smoke)
    yield from _kernels(smoke)
    if smoke.range or smoke.magnitudes:
        yield "Values against fp16's range", _ranges(smoke)
    if smoke.activations:
        yield "Activations against fp16's range", _activations(smoke)


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


def _activations(smoke: Smoke) -> Markup:
    """Draw the range of each module's output, and list those that come close to fp16's limits."""
    headers = ["Module", "Kind", "Largest", "Headroom", "Overflow", "Vanish", "fp16's error"]
    near = [row for row in smoke.activations if row.overflow or summary.is_near_limit(row)]
    near.sort(key=lambda row: (row.headroom or float("inf"), -(row.relative or 0)))
    drawn = drawings.ranges(drawings.spans_of_activations(smoke), "module")
    rows = list(map(_activation_row, near[:MAX_ROWS]))
    written = tables.table(headers, rows, numbers_from=2) if rows else None
    return _told(
        drawn, written, len(near) - len(rows), len(smoke.activations) - len(near), "module"
    )


def _ranges(smoke: Smoke) -> Markup:
    """Draw the range of each tensor, and list those whose values come close to fp16's limits."""
    spans = drawings.spans_of_tensors(smoke)
    near = [
        row for row in smoke.range if row.overflow or row.nonfinite or summary.is_near_limit(row)
    ]
    written = tables.ranges(near) if near else None
    return _told(drawings.ranges(spans, "tensor"), written, 0, len(spans) - len(near), "tensor")


def _told(drawn: Markup, listed: Markup | None, near: int, fine: int, noun: str) -> Markup:
    """Put a picture above the table of what comes close to a limit, and count the rest.

    Args:
        drawn: The picture.
        listed: The table; None if nothing is close to a limit.
        near: How many are close to a limit and not in the table.
        fine: How many are not.
        noun: What they are.
    """
    parts = [
        f"{notation.count(near, f'more {noun}')} close to a limit" if near else "",
        f"{notation.count(fine, f'other {noun}' if listed else noun)} with room in fp16",
    ]
    text = " and ".join(part for part in parts[: 2 if fine else 1] if part)
    rest = [element("p", f"{text}: see the JSON report.", class_="note")] if text else []
    return element("div", drawn, *([listed] if listed else []), *rest)


def _activation_row(row: Activation) -> list[Markup]:
    numbers = [
        notation.magnitude(row.absmax),
        notation.times(row.headroom),
        f"{row.overflow:,}",
        notation.share(row.underflow_share),
        "–" if row.relative is None else notation.magnitude(row.relative),
    ]
    return [
        tables.named(row.module),
        tables.cell(row.kind),
        *(tables.cell(number, class_="number") for number in numbers),
    ]


def _times(smoke: Smoke) -> Markup:
    """Draw the times, and list those of all settings."""
    listed = [_timings(smoke.timings)] if smoke.timings else []
    return element("div", drawings.times(smoke), *listed)


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
        f"{row.speedup:.2f}" + (f" ± {row.spread:.2f}" if row.spread else ""),
        ", ".join(notation.size(peak) for peak in peaks if peak is not None) or "–",
        counts,
    ]
    return [
        tables.named(notation.shape(row.input_shape or [])),
        tables.cell(", ".join(under)),
        *(tables.cell(number, class_="number") for number in numbers),
    ]


def _kernels(smoke: Smoke) -> Iterator[tuple[str, Markup]]:
    """Yield what the profiler saw on a GPU: the convolutions, and the other operators."""
    if smoke.dispatch:
        yield "Kernels", _dispatch(smoke.dispatch)
    if smoke.operators:
        yield "Time outside the convolutions", _operators(smoke.operators)


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


def _operators(rows: Sequence[OperatorTime]) -> Markup:
    """List the time of each operator in either layout, the largest change first."""
    seconds = {(row.operator, row.weights): row.seconds for row in rows}
    pairs = {
        row.operator: [seconds.get((row.operator, way), 0.0) for way in ("contiguous", "converted")]
        for row in rows
    }
    ordered = sorted(pairs.items(), key=lambda item: -abs(item[1][1] - item[1][0]))
    cells = [
        [
            tables.named(operator),
            *(tables.cell(notation.duration(each), class_="number") for each in pair),
        ]
        for operator, pair in ordered
    ]
    return tables.table(["Operator", "Contiguous", "Converted"], cells, numbers_from=1)
