"""What the runs of a convolution say about it: whether fp16 is at fault, or the layout."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from convlast.report import LayerSmoke, Parity
from convlast.smoke.parity import DTYPE_THRESHOLD, LAYOUT_THRESHOLD, badness, compare

Outcome: TypeAlias = Tensor | str
"""The output of a run, or why there is none."""

LayerStatus = Literal["passed", "inaccurate", "failed", "skipped"]
Status = Literal["passed", "passed_with_findings", "failed", "skipped"]


@dataclass(frozen=True)
class LayerJudgement:
    """The verdict on one convolution, with the figures it rests on."""

    status: LayerStatus
    reason: str | None = None
    parity: list[Parity] = field(default_factory=list)


@dataclass(frozen=True)
class Summary:
    """The verdict on all convolutions together.

    Attributes:
        status: As in `convlast.report.Smoke`.
        parity: The worst of each pair.
        worst: For each pair, the layer where it was found.
    """

    status: Status
    parity: list[Parity]
    worst: dict[str, str]


def judge(reference: Outcome, contiguous: Outcome, converted: Outcome) -> LayerJudgement:
    """Judge a convolution by its three runs.

    Args:
        reference: In fp32, contiguous.
        contiguous: In fp16, contiguous.
        converted: In fp16, with the converted weight.

    >>> judge(torch.ones(1), torch.ones(1), "RuntimeError: no kernel").reason
    'the converted weight raises where the contiguous one does not: RuntimeError: no kernel'
    """
    if isinstance(reference, str):
        return LayerJudgement("skipped", f"float32 raises: {reference}")
    if isinstance(contiguous, str):
        return LayerJudgement("skipped", f"float16 raises, in contiguous format too: {contiguous}")
    dtype = compare(reference, contiguous, pair="dtype", threshold=DTYPE_THRESHOLD)
    if isinstance(converted, str):
        reason = f"the converted weight raises where the contiguous one does not: {converted}"
        return LayerJudgement("failed", reason, [dtype])
    if converted.shape != contiguous.shape:
        reason = f"the layout is at fault: an output of {tuple(converted.shape)}"
        return LayerJudgement("failed", reason, [dtype])
    layout = _compare_layouts(contiguous, converted)
    if not layout.passed:
        return LayerJudgement(
            "failed", f"the layout is at fault: {_words(layout)}", [dtype, layout]
        )
    if not dtype.passed:
        return LayerJudgement(
            "inaccurate", f"float16 is at fault: {_words(dtype)}", [dtype, layout]
        )
    if not reference.isfinite().all():
        reason = "the weight, or its output in float32, is not finite"
        return LayerJudgement("inaccurate", reason, [dtype, layout])
    return LayerJudgement("passed", parity=[dtype, layout])


def summarise(layers: Iterable[tuple[str, LayerSmoke]]) -> Summary:
    """Draw the verdict on all convolutions from that on each.

    Args:
        layers: Name and smoke of each.

    >>> summarise([("a", LayerSmoke(status="passed")), ("b", LayerSmoke(status="skipped"))]).status
    'passed_with_findings'
    """
    statuses: set[LayerStatus] = set()
    worst: dict[str, tuple[str, Parity]] = {}
    for name, smoke in layers:
        statuses.add(smoke.status)
        for parity in smoke.parity:
            known = worst.get(parity.pair)
            if known is None or badness(parity) > badness(known[1]):
                worst[parity.pair] = name, parity
    return Summary(
        status=_overall(statuses),
        parity=[parity for _, parity in worst.values()],
        worst={pair: name for pair, (name, _) in worst.items()},
    )


def _compare_layouts(contiguous: Tensor, converted: Tensor) -> Parity:
    if not contiguous.isfinite().all():
        # fp16 has broken already, and what a kernel then makes of 0 · ∞ in the padding, or of a
        # sum at the edge of the range, is its own affair: only what is finite in both can differ.
        contiguous = contiguous.where(converted.isfinite(), torch.nan)
    return compare(contiguous, converted, pair="layout", threshold=LAYOUT_THRESHOLD)


def _words(parity: Parity) -> str:
    if parity.nan or parity.inf:
        return f"{parity.nan} NaN and {parity.inf} infinite values where there should be none"
    if parity.relative is None:
        return "values where there should be zeros only"
    return f"off by {parity.relative:.2%} of the output's scale, and {parity.threshold:.2%} passes"


def _overall(statuses: set[LayerStatus]) -> Status:
    if statuses <= {"skipped"}:
        return "skipped"
    if "failed" in statuses:
        return "failed"
    return "passed" if statuses == {"passed"} else "passed_with_findings"
