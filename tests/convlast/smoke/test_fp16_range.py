import math

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor

from convlast.smoke import fp16_range as ranges
from convlast.smoke.fp16_range import AUDITED, audit, is_audited, is_worth_telling

WIDTHS = {torch.float64: 64, torch.float32: 32, torch.float16: 16}
tensors = st.sampled_from(sorted(WIDTHS, key=str)).flatmap(
    lambda dtype: st.lists(st.floats(width=WIDTHS[dtype])).map(  # type: ignore[arg-type] # 16, 32 or 64
        lambda values: torch.tensor(values, dtype=dtype)
    )
)
EDGES = torch.tensor(
    [65504, 65519.99, 65520, -65520, 2**-24, 2**-25, 2**-25 * 1.001, -(2**-26), -0.0, 0, 1e-45]
)


@given(tensors)
@example(EDGES)
@example(EDGES.bfloat16())
@example(torch.tensor([1e-310], dtype=torch.float64))
@example(torch.tensor([math.nan, math.inf, -math.inf, 7e4, 1e-9]))
def test_counts_are_what_a_cast_to_fp16_does(tensor: Tensor) -> None:
    """The counts agree with those of looking at each value before and after the cast."""
    found = audit("w", [tensor])
    pairs = list(zip(tensor.tolist(), tensor.to(torch.float16).tolist(), strict=True))
    assert found.numel == len(pairs)
    assert found.overflow == sum(math.isfinite(x) and math.isinf(h) for x, h in pairs)
    assert found.underflow == sum(x != 0 and h == 0 for x, h in pairs)
    assert found.nonfinite == sum(not math.isfinite(x) for x, _ in pairs)
    if found.nonfinite:
        assert found.absmax is found.absmin is None
    else:
        assert found.absmin == min((abs(x) for x, _ in pairs if x), default=None)
        assert found.absmax == max((abs(x) for x, _ in pairs), default=0.0)
        expected = 65504 / found.absmax if found.absmax else math.inf
        assert found.headroom == (expected if math.isfinite(expected) else None)
    assert found.underflow_share * len(pairs) == pytest.approx(found.underflow)


@given(tensors, st.integers(1, 4), st.integers(1, 4))
def test_chunks_and_blocks_do_not_show(tensor: Tensor, chunk: int, block: int) -> None:
    """The range of a tensor does not depend on how it is cut into chunks."""
    whole = audit("w", [tensor])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranges, "BLOCK_NUMEL", block)
        parts = audit("w", iter(torch.split(tensor, chunk)))
    assert parts == whole


@pytest.mark.parametrize("dtype", sorted(AUDITED, key=str), ids=str)
def test_the_tensor_is_left_as_it_is(dtype: torch.dtype) -> None:
    """The audit does not change the tensor, and accepts parameters."""
    tensor = torch.randn(64).to(dtype)
    before = tensor.clone()
    audit("w", [torch.nn.Parameter(tensor)])
    assert torch.equal(tensor, before)


def test_a_tensor_of_no_elements_has_a_range() -> None:
    """An empty tensor has nothing that fp16 cannot hold."""
    assert audit("w", []) == audit("w", [torch.empty(0)])
    assert audit("w", []).absmax == 0


def test_what_fp16_holds_by_nature_is_audited_for_what_is_not_finite() -> None:
    """An fp16 tensor neither overflows nor underflows."""
    found = audit("w", [torch.tensor([math.inf, 6e-8, 65504, 0], dtype=torch.float16)])
    assert (found.overflow, found.underflow, found.nonfinite) == (0, 0, 1)


@pytest.mark.parametrize(
    "dtype", [torch.int8, torch.bool, torch.complex64, torch.float8_e4m3fn], ids=str
)
def test_other_dtypes_are_not_audited(dtype: torch.dtype) -> None:
    """Integers and complex numbers have no fp16 of their own, and fp8 always fits."""
    assert not is_audited(dtype)


@pytest.mark.parametrize(
    ("value", "is_told"),
    [(1.0, False), (16376.0, False), (16400.0, True), (7e4, True), (1e-9, True), (math.nan, True)],
)
def test_what_does_not_fit_or_hardly_is_told_of(value: float, is_told: bool) -> None:
    """A weight that fits into the range four times is not worth a row."""
    assert is_worth_telling(audit("w", [torch.tensor([value, 0.5])])) == is_told
