from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, cast

import pytest
import torch
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

from convlast.smoke.precision import EMULATED, NATIVE, exact_float32, name_on, run_in_float16, tf32


def test_operands_and_the_result_are_rounded_to_fp16() -> None:
    """Operands and result are rounded to fp16."""
    x, y = torch.tensor([1.0 + 2**-12]), torch.tensor([2.0**-12])
    assert run_in_float16(torch.sub, x, torch.ones(1)).item() == 0
    assert run_in_float16(torch.add, torch.ones(1), y).item() == 1
    assert run_in_float16(torch.add, x, y).dtype == torch.float16


def test_sums_are_kept_in_fp32() -> None:
    """A thousand small terms do not vanish beside a large one, as they would in fp16 sums."""
    terms = torch.full((4097,), 0.25)
    terms[0] = 2048
    assert run_in_float16(torch.sum, terms).item() == 2048 + 1024


Convolve = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def operands() -> tuple[torch.Tensor, torch.Tensor]:
    """Draw an input and a weight."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 4, 4, 4, 4, generator=generator)
    return x, torch.randn(4, 4, 3, 3, 3, generator=generator) / 10


@pytest.mark.parametrize("operator", [F.conv3d, F.conv_transpose3d])
def test_emulated_fp16_is_the_exact_result_to_one_rounding(operator: Convolve) -> None:
    """Each element is at most one unit in the last place from what its fp16 operands give."""
    x, w = operands()
    exact = operator(x.half().double(), w.half().double())
    unit = 2.0**-10 * (exact.abs() + torch.finfo(torch.float16).tiny)
    assert ((run_in_float16(operator, x, w).double() - exact).abs() <= unit).all()


def test_emulated_fp16_agrees_with_native_fp16_to_one_rounding() -> None:
    """What the CPU's own slow fp16 kernel gives is at most one unit in the last place away.

    That of a transposed convolution is further away: it adds up rounded columns in fp16 on some
    processors, and is then less exact than a tensor core, and than the emulation.
    """
    x, w = operands()
    emulated, native = run_in_float16(F.conv3d, x, w), F.conv3d(x.half(), w.half())
    unit = 2.0**-10 * native.float().abs().max()
    assert (emulated.float() - native.float()).abs().max() <= unit


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize(
    "memory_format", [torch.contiguous_format, torch.channels_last_3d], ids=str
)
def test_the_strides_of_operands_and_result_survive_rounding(
    kernel: int, memory_format: torch.memory_format
) -> None:
    """The operation sees each operand's strides, and its result's strides come out."""
    x = torch.randn(2, 8, 5, 5, 5)
    w = torch.randn(4, 8, kernel, kernel, kernel).clone(memory_format=memory_format)
    w = w.resize_(w.shape, memory_format=memory_format)
    seen = []

    def operation(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        seen.append((x.stride(), w.stride()))
        return F.conv3d(x, w)

    output = run_in_float16(operation, x, w)
    assert seen == [(x.stride(), w.stride())]
    assert output.stride() == F.conv3d(x, w).stride()
    assert output.is_contiguous(memory_format=memory_format)


def test_what_is_beyond_the_range_becomes_infinite() -> None:
    """An operand and a result overflow where they do in fp16."""
    assert run_in_float16(torch.neg, torch.tensor([7e4])).item() == -torch.inf
    assert run_in_float16(torch.mul, torch.tensor([300.0]), torch.tensor([300.0])).isinf().all()


def test_the_report_says_which_fp16_it_was() -> None:
    """A GPU's fp16 is native, a CPU's is not."""
    assert name_on(torch.device("cuda:1")) == NATIVE == "float16"
    assert name_on(torch.device("cpu")) == EMULATED


cudnn = torch.backends.cudnn


def state() -> tuple[str, str, bool]:
    """Return how cuDNN computes in fp32: convolutions, recurrent layers, and the old setting."""
    conv, rnn = (getattr(cudnn, name).fp32_precision for name in ("conv", "rnn"))
    return conv, rnn, cudnn.allow_tf32


def test_tf32_is_off_for_the_reference_and_put_back() -> None:
    """The settings are restored, also if the reference raises."""
    before, within = state(), []

    def fail() -> None:
        with exact_float32():
            within.append(state())
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        fail()
    assert within == [("ieee", "ieee", False)]
    assert state() == before


@pytest.mark.parametrize("precision", [exact_float32, tf32])
def test_a_model_may_read_and_set_what_pytorch_allows(
    precision: Callable[[], AbstractContextManager[None]],
) -> None:
    """The old setting raises where the new one says something else; `flags` reads it too."""
    before = state()
    with precision(), cudnn.flags(enabled=True, deterministic=True):
        assert cudnn.deterministic
    assert state() == before


@pytest.mark.parametrize("conv", ["ieee", "tf32", "none"])
@pytest.mark.parametrize("everything", ["ieee", "tf32", "none"])
def test_what_a_user_had_set_in_the_new_way_is_put_back(conv: str, everything: str) -> None:
    """fp32 is exact even if the user allows TF32, and the user's settings are restored."""
    before = state()
    setting, of_all = cudnn.conv, cast(Any, torch.backends)  # type: ignore[attr-defined] # set at run time
    try:
        setting.fp32_precision, of_all.fp32_precision = conv, everything
        had = setting.fp32_precision, cudnn.rnn.fp32_precision  # type: ignore[attr-defined]
        with exact_float32():
            assert setting.fp32_precision == "ieee"
        assert (setting.fp32_precision, cudnn.rnn.fp32_precision) == had  # type: ignore[attr-defined]
    finally:
        of_all.fp32_precision = "none"
        cudnn.allow_tf32 = True
    assert state() == before
