"""What the figures of two runs decide, and when fp16's own error decides."""

from __future__ import annotations

import pytest
import torch

from convlast.smoke.model.model_judgement import compare_layouts
from convlast.smoke.model.outputs import parity_of
from convlast.smoke.parity import DTYPE_THRESHOLD

REFERENCE = {"output": torch.linspace(-1, 1, 100)}


def noisy(scale: float, seed: int) -> dict[str, torch.Tensor]:
    """Return the reference with noise of that scale."""
    noise = torch.randn(100, generator=torch.Generator().manual_seed(seed))
    return {"output": REFERENCE["output"] + scale * noise}


@pytest.mark.parametrize(
    ("error", "difference", "passed", "is_fault"),
    [
        (0.0, 0.0, True, False),
        (0.0, 0.5, False, True),
        (0.5, 0.0, True, False),
        (0.1, 3.0, None, False),
    ],
)
def test_a_figure_over_its_limit_never_passes(
    error: float, difference: float, passed: bool | None, is_fault: bool
) -> None:
    """Where fp16 itself is wrong, the difference of its layouts decides nothing."""
    contiguous = noisy(error, seed=1)
    dtype = parity_of(REFERENCE, contiguous, pair="dtype", threshold=DTYPE_THRESHOLD)
    converted = {
        "output": contiguous["output"] + noisy(difference, 2)["output"] - REFERENCE["output"]
    }
    parity, fault = compare_layouts(contiguous, converted, dtype, "layout")
    assert parity is not None
    assert (parity.passed, fault is not None) == (passed, is_fault)
    assert parity.relative is not None
    assert (parity.relative <= parity.threshold) == (passed is True)


def test_values_that_are_not_finite_are_a_fault_of_the_layout_in_any_case() -> None:
    """However wrong fp16 is: no layout may make NaN of what is finite."""
    contiguous = noisy(0.5, seed=1)
    dtype = parity_of(REFERENCE, contiguous, pair="dtype", threshold=DTYPE_THRESHOLD)
    broken = contiguous["output"].clone()
    broken[3] = torch.nan
    parity, fault = compare_layouts(contiguous, {"output": broken}, dtype, "layout")
    assert parity is not None
    assert parity.passed is False
    assert "1 NaN" in str(fault)
