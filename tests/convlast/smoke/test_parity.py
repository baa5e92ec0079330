import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from convlast.report import Parity
from convlast.smoke import parity as parity_module
from convlast.smoke.parity import DTYPE_THRESHOLD, LAYOUT_THRESHOLD, compare

NAN, INF = math.nan, math.inf
singles = st.floats(-(2.0**100), 2.0**100, width=32)
values = st.lists(st.tuples(singles, singles), min_size=1)


def compared(reference: Tensor | list[float], actual: Tensor | list[float]) -> Parity:
    """Compare two outputs with a threshold of one percent."""
    return compare(
        torch.as_tensor(reference), torch.as_tensor(actual), pair="layout", threshold=0.01
    )


@given(values)
def test_the_figures_are_what_they_are_defined_to_be(pairs: list[tuple[float, float]]) -> None:
    """Over finite values they agree with the definitions, written out in Python."""
    parity = compared([a for a, _ in pairs], [b for _, b in pairs])
    differences = [abs(a - b) for a, b in pairs]
    scale = max(abs(a) for a, _ in pairs)
    assert parity.max_abs == pytest.approx(max(differences))
    assert parity.mean_abs == pytest.approx(math.fsum(differences) / len(pairs))
    if scale:
        assert parity.relative == pytest.approx(max(differences) / scale)
        assert parity.passed == (max(differences) / scale <= 0.01)
    if parity.cosine is not None:
        assert -1.0001 <= parity.cosine <= 1.0001


@given(st.lists(st.floats(width=16)))
def test_an_output_agrees_with_itself(values: list[float]) -> None:
    """Whatever it holds."""
    output = torch.tensor(values, dtype=torch.float16)
    parity = compared(output, output)
    assert parity.passed
    assert (parity.nan, parity.inf) == (0, 0)
    assert parity.max_abs in (0, None)


@given(values, st.integers(1, 5))
def test_blocks_do_not_show(pairs: list[tuple[float, float]], block: int) -> None:
    """The size of the blocks that are looked at together changes nothing."""
    reference, actual = [a for a, _ in pairs], [b for _, b in pairs]
    whole = compared(reference, actual)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parity_module, "BLOCK_NUMEL", block)
        parts = compared(reference, actual)
    for name, value in whole.model_dump().items():
        expected = pytest.approx(value) if isinstance(value, float) else value
        assert getattr(parts, name) == expected, name


def test_values_that_are_not_finite_are_counted_and_fail() -> None:
    """Where the reference is finite; no figure pretends to know how far off they are."""
    parity = compared([1.0, 1.0, 1.0, 1.0], [1.0, NAN, -INF, INF])
    assert (parity.nan, parity.inf, parity.passed) == (1, 2, False)
    assert (parity.max_abs, parity.mean_abs) == (None, None)
    assert (parity.relative, parity.cosine) == (None, None)


def test_values_whose_squares_overflow_are_finite() -> None:
    """Only float64 has such values; the cosine alone is not known then."""
    large = torch.tensor([1e200, -2e200], dtype=torch.float64)
    parity = compared(large, large)
    assert (parity.nan, parity.inf, parity.passed) == (0, 0, True)
    assert (parity.relative, parity.mean_abs, parity.cosine) == (0.0, 0.0, None)


def test_the_reference_is_not_held_to_what_it_is_not() -> None:
    """Where the reference is NaN or infinite nothing is asked of the other."""
    parity = compared([NAN, INF, -INF, 2.0], [1.0, NAN, INF, 2.0])
    assert (parity.nan, parity.inf, parity.passed) == (0, 0, True)
    assert (parity.max_abs, parity.relative, parity.cosine) == (0.0, 0.0, 1.0)
    assert compared([INF, 2.0], [0.0, 3.0]).relative == 0.5


@pytest.mark.parametrize("reference", [torch.empty(2, 0), torch.full((3,), NAN)])
def test_where_nothing_can_be_compared_nothing_disagrees(reference: Tensor) -> None:
    """An empty output, or a reference that is not finite anywhere."""
    parity = compared(reference, torch.zeros_like(reference))
    assert parity.passed
    assert (parity.max_abs, parity.mean_abs) == (None, None)
    assert (parity.relative, parity.cosine) == (None, None)


def test_zeros() -> None:
    """Zeros agree with zeros; anything else is infinitely far away, and has no angle."""
    assert compared([0.0, 0.0], [0.0, -0.0]).relative == 0
    assert compared([0.0, 0.0], [0.0, -0.0]).cosine is None
    off = compared([0.0, 0.0], [0.0, 1e-30])
    assert off.max_abs == pytest.approx(1e-30)
    assert (off.relative, off.passed) == (None, False)
    vanished = compared([1.0, 2.0], [0.0, 0.0])
    assert (vanished.relative, vanished.cosine, vanished.passed) == (1.0, None, False)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_the_largest_values_do_not_overflow_on_the_way(dtype: torch.dtype) -> None:
    """The largest value agrees with itself, and is off by twice itself from its negative."""
    largest = torch.full((8,), torch.finfo(dtype).max, dtype=dtype)
    assert compared(largest, largest).relative == 0
    off = compared(largest, -largest)
    assert not off.passed
    if dtype != torch.float64:
        assert off.relative == 2
        assert off.cosine == pytest.approx(-1)


def test_the_angle_tells_a_scaled_output_from_another_one() -> None:
    """A scaled output has the cosine 1, an unrelated one 0, a negated one -1."""
    reference = torch.tensor([1.0, 2.0, 0.0])
    assert compared(reference, 3 * reference).cosine == pytest.approx(1)
    assert compared(reference, torch.tensor([0.0, 0.0, 5.0])).cosine == 0
    assert compared(reference, -reference).cosine == pytest.approx(-1)


def test_layouts_are_compared_by_place_not_by_memory() -> None:
    """The same values in another memory format are the same."""
    reference = torch.randn(2, 8, 3, 4, 5)
    assert compared(reference, reference.to(memory_format=torch.channels_last_3d)).max_abs == 0


def test_outputs_of_different_shapes_cannot_be_compared() -> None:
    """Even where they would broadcast."""
    with pytest.raises(ValueError, match="cannot be compared"):
        compared(torch.ones(2, 3), torch.ones(3))


def test_a_difference_of_the_threshold_passes_and_more_does_not() -> None:
    """The threshold itself still passes."""
    reference = torch.tensor([4.0, 0.0])
    for threshold in (LAYOUT_THRESHOLD, DTYPE_THRESHOLD):
        at = torch.tensor([4.0, 4 * threshold], dtype=torch.float64)
        assert compare(reference, at, pair="p", threshold=threshold).passed
        assert not compare(reference, at * 1.001, pair="p", threshold=threshold).passed
