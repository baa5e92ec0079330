"""What the smoke's section says of itself."""

from __future__ import annotations

import pytest

from convlast.report.smoke import Timing


@pytest.mark.parametrize(
    ("speedup", "spread", "tendency"),
    [
        (1.2, 0.05, 1),
        (0.8, 0.05, -1),
        (1.04, 0.05, 0),
        (0.96, 0.05, 0),
        (1.008, 0.001, 0),
        (0.992, 0.001, 0),
    ],
)
def test_a_gain_counts_beyond_the_noise(speedup: float, spread: float, tendency: int) -> None:
    """A gain or a loss counts if it is larger than the spread, and than one percent."""
    timing = Timing(
        contiguous_s=speedup, converted_s=1.0, speedup=speedup, spread=spread, representative=True
    )
    assert timing.tendency == tendency
