"""fp16 on a CPU: the arithmetic of native fp16, and the dtypes and layouts of a GPU."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from convlast.layout.memory_format import strides_of
from convlast.smoke.layout import order_of
from convlast.smoke.model.emulation import Emulation

OPERATORS: dict[str, Callable[[Tensor], Tensor]] = {
    "conv3d": lambda x: nn.functional.conv3d(x, torch.ones(4, 4, 3, 3, 3, dtype=x.dtype) / 8),
    "linear": lambda x: nn.functional.linear(x, torch.ones(5, 6, dtype=x.dtype) / 3),
    "batch_norm": lambda x: nn.functional.batch_norm(
        x, torch.zeros(4, dtype=x.dtype), torch.full((4,), 3.0, dtype=x.dtype)
    ),
    "group_norm": lambda x: nn.functional.group_norm(x, 2),
    "softmax": lambda x: x.softmax(1),
    "upsample": lambda x: nn.functional.interpolate(x, scale_factor=2, mode="trilinear"),
    "relu": torch.relu,
    "instance_norm": nn.functional.instance_norm,
    "adaptive": lambda x: nn.functional.adaptive_avg_pool3d(x * 9 + 5, 2),
    "mean": lambda x: x.mean((2, 3, 4)),
    "gelu": nn.functional.gelu,
}


def emulated(operator: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Run an operator emulated."""
    with torch.no_grad(), Emulation():  # type: ignore[no-untyped-call]  # PyTorch's own base
        return operator(x)


def convolve(weight: Tensor, x: Tensor) -> Tensor:
    """Convolve."""
    return nn.functional.conv3d(x, weight)


def half_input() -> Tensor:
    """Return a small input in fp16."""
    return torch.randn(2, 4, 6, 6, 6, generator=torch.Generator().manual_seed(1)).half()


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize("name", OPERATORS)
def test_it_is_fp32_rounded_once(name: str, memory_format: torch.memory_format) -> None:
    """The result is right to one unit in the last place of the largest value, in fp32's layout."""
    x = half_input().to(memory_format=memory_format)
    with torch.no_grad():
        exact = OPERATORS[name](x.float())
    found = emulated(OPERATORS[name], x)
    assert found.dtype == torch.float16
    assert found.stride() == exact.stride()
    unit = float(exact.abs().max()) * 2.0**-10
    assert float((found.float() - exact).abs().max()) <= unit


def test_pooling_works_though_the_cpu_has_no_kernel() -> None:
    """The result is that of fp32, rounded."""
    x = half_input()
    found = emulated(lambda x: nn.functional.avg_pool3d(x, 2), x)
    assert torch.equal(found, nn.functional.avg_pool3d(x.float(), 2).half())


def test_autocast_casts_as_it_would_on_a_gpu() -> None:
    """Under autocast the convolution is in fp16, but its weights and the next norm are not."""
    model = nn.Sequential(nn.Conv3d(4, 8, 3), nn.BatchNorm3d(8)).eval()
    seen = []
    model[0].register_forward_hook(lambda _module, _args, output: seen.append(output.dtype))
    with torch.autocast("cpu", torch.float16):
        emulated(model, half_input().float())
    assert seen == [torch.float16]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_sum_is_rounded_once(dtype: torch.dtype) -> None:
    """In fp16 alone 2048 + 1 + 1 is 2048; with sums in fp32 it is 2050."""
    x = torch.tensor([2048.0, 1.0, 1.0]).reshape(1, 3, 1, 1, 1).to(dtype)
    weight = torch.ones(1, 3, 1, 1, 1, dtype=dtype)
    found = emulated(lambda x: nn.functional.conv3d(x, weight), x)
    assert found.item() == float(torch.tensor(2050.0).to(dtype))


@pytest.mark.parametrize("shape", [(8, 4, 3, 3, 3), (8, 4, 1, 1, 1)])
def test_the_layout_of_the_weight_decides_as_in_native_fp16(shape: tuple[int, ...]) -> None:
    """The result has the layout of the weight, also for a kernel of 1×1×1."""
    weight = torch.randn(shape).half()
    strides = strides_of(shape, "channels_last_3d")
    converted = torch.empty_strided(shape, strides, dtype=torch.float16).copy_(weight)
    for given, order in ((weight, "contiguous_format"), (converted, "channels_last_3d")):
        assert order_of(emulated(partial(convolve, given), half_input())) == order


def test_fp32_is_left_alone() -> None:
    """A module that a model keeps in fp32 computes in fp32."""
    x = torch.tensor([1.0 + 2.0**-20])
    assert torch.equal(emulated(lambda x: x * 1, x), x)
    assert emulated(lambda x: nn.functional.avg_pool3d(x, 1), half_input().float()).dtype == (
        torch.float32
    )


def test_one_sample_has_the_layout_and_the_values_of_the_first_of_two() -> None:
    """PyTorch's kernel for one small sample on a CPU would lose the layout."""
    weight = torch.randn(8, 4, 3, 3, 3).half().to(memory_format=torch.channels_last_3d)
    two = half_input()
    one, both = (emulated(partial(convolve, weight), x) for x in (two[:1].contiguous(), two))
    assert one.shape == (1, 8, 4, 4, 4)
    assert order_of(one) == "channels_last_3d"
    assert torch.equal(one, both[:1])
