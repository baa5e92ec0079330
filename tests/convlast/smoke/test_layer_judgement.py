import math

import pytest
import torch

from convlast.report import LayerSmoke, Parity
from convlast.smoke.layer_judgement import judge, summarise
from convlast.smoke.parity import LAYOUT_THRESHOLD

GOOD = torch.linspace(-1, 1, 64)
NAN = torch.where(GOOD > 0.9, math.nan, GOOD)
INF = torch.where(GOOD > 0.9, math.inf, GOOD)
OFF = GOOD + 0.5


@pytest.mark.parametrize(
    ("reference", "contiguous", "converted", "status", "words"),
    [
        (GOOD, GOOD, GOOD, "passed", None),
        (GOOD, GOOD, OFF, "failed", "layout is at fault: off by 50.00%"),
        (GOOD, GOOD, NAN, "failed", "layout is at fault: 4 NaN"),
        (GOOD, GOOD, INF, "failed", "layout is at fault: 0 NaN and 4 infinite"),
        (GOOD, GOOD, "RuntimeError: no", "failed", "contiguous one does not: RuntimeError: no"),
        (GOOD, GOOD, GOOD[1:], "failed", "layout is at fault: an output of (63,)"),
        (0 * GOOD, 0 * GOOD, GOOD, "failed", "values where there should be zeros only"),
        (GOOD, OFF, OFF, "inaccurate", "float16 is at fault: off by 50.00%"),
        (GOOD, INF, INF, "inaccurate", "float16 is at fault: 0 NaN and 4 infinite"),
        (GOOD, INF, NAN, "inaccurate", "float16 is at fault"),
        (GOOD, 0 * GOOD, 0 * GOOD, "inaccurate", "float16 is at fault: off by 100.00%"),
        (NAN, NAN, NAN, "inaccurate", "in float32, is not finite"),
        (GOOD, OFF, NAN, "failed", "layout is at fault"),
        (GOOD, INF, INF + 0.5, "failed", "layout is at fault: off by"),
        ("ValueError: no", GOOD, GOOD, "skipped", "float32 raises: ValueError: no"),
        (GOOD, "ValueError: no", GOOD, "skipped", "contiguous format too: ValueError: no"),
        (GOOD, "ValueError: no", "ValueError: no", "skipped", "contiguous format too"),
    ],
)
def test_the_fault_is_pinned_on_the_dtype_or_on_the_layout(
    reference: torch.Tensor | str,
    contiguous: torch.Tensor | str,
    converted: torch.Tensor | str,
    status: str,
    words: str | None,
) -> None:
    """The layout is to blame if the converted run differs from the contiguous fp16 run."""
    judgement = judge(reference, contiguous, converted)
    assert judgement.status == status
    assert (judgement.reason is None) if words is None else words in str(judgement.reason)


def test_the_figures_come_with_the_verdict() -> None:
    """The parity of both pairs is reported, whatever the verdict, if there are outputs."""
    assert [parity.pair for parity in judge(GOOD, GOOD, OFF).parity] == ["dtype", "layout"]
    assert [parity.pair for parity in judge(GOOD, GOOD, "raised").parity] == ["dtype"]
    assert judge(GOOD, "raised", GOOD).parity == []


def parity_of(relative: float | None, *, nan: int = 0, pair: str = "layout") -> Parity:
    """Build a parity that is off by this much."""
    passed = not nan and relative is not None and relative <= LAYOUT_THRESHOLD
    return Parity(
        pair=pair,
        max_abs=relative,
        mean_abs=relative,
        relative=relative,
        cosine=1.0,
        nan=nan,
        threshold=LAYOUT_THRESHOLD,
        passed=passed,
    )


@pytest.mark.parametrize(
    ("statuses", "overall"),
    [
        ([], "skipped"),
        (["skipped", "skipped"], "skipped"),
        (["passed", "passed"], "passed"),
        (["passed", "skipped"], "passed_with_findings"),
        (["passed", "inaccurate"], "passed_with_findings"),
        (["passed", "inaccurate", "skipped", "failed"], "failed"),
    ],
)
def test_one_failed_layer_fails_all(statuses: list[str], overall: str) -> None:
    """A layer that did not pass makes a finding; if no layer ran, the smoke is skipped."""
    layers = [(str(i), LayerSmoke.model_validate({"status": s})) for i, s in enumerate(statuses)]
    assert summarise(layers).status == overall


def test_the_worst_of_each_pair_is_kept_with_its_layer() -> None:
    """NaN is worse than any difference, and zeros that are off worse than a known one."""
    known = [parity_of(0.001), parity_of(0.5), parity_of(0.25)]
    vague = parity_of(None)
    spoilt = parity_of(None, nan=1)
    other = parity_of(0.002, pair="dtype")
    layers = [
        (f"layer{i}", LayerSmoke(status="passed", parity=[parity]))
        for i, parity in enumerate([*known, other])
    ]
    summary = summarise(layers)
    assert summary.parity == [known[1], other]
    assert summary.worst == {"layout": "layer1", "dtype": "layer3"}
    layers.append(("vague", LayerSmoke(status="failed", parity=[vague])))
    assert summarise(layers).worst["layout"] == "vague"
    layers.insert(0, ("spoilt", LayerSmoke(status="failed", parity=[spoilt])))
    assert summarise(layers).worst["layout"] == "spoilt"
