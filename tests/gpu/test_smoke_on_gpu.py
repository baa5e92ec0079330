"""The smoke of single convolutions in native fp16, on a real device."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from convlast.layout.memory_format import strides_of
from convlast.report import Kind
from convlast.smoke.convolution import input_shape_of
from convlast.smoke.fp16_range import audit
from convlast.smoke.layers import Convolution, convolve, smoke_layer
from convlast.smoke.parity import DTYPE_THRESHOLD, LAYOUT_THRESHOLD, compare
from convlast.smoke.precision import EMULATED, NATIVE, exact_float32, name_on, run_in_float16

pytestmark = pytest.mark.gpu

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
KINDS: list[Kind] = ["Conv3d", "ConvTranspose3d"]


def converted_of(weight: Tensor) -> Tensor:
    """Lay a weight out as PyTorch's own function does."""
    strides = strides_of(weight.shape, "channels_last_3d")
    return torch.empty_strided(weight.shape, strides, dtype=weight.dtype).copy_(weight)


def convolution_of(
    shape: tuple[int, ...], kind: Kind = "Conv3d", groups: int = 1, *, factor: float = 1.0
) -> Convolution:
    """Describe a convolution with random weights, on the CPU as the smoke takes them."""
    generator = torch.Generator().manual_seed(7)
    weight = torch.randn(shape, generator=generator)
    weight *= factor / float(torch.tensor(shape[1:]).prod()) ** 0.5
    return Convolution("w", kind, shape, groups, lambda: weight, lambda: converted_of(weight))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("shape", "groups"),
    [
        ((64, 64, 3, 3, 3), 1),
        ((64, 64, 1, 1, 1), 1),
        ((32, 3, 7, 7, 7), 1),
        ((64, 64, 3, 1, 1), 1),
        ((64, 64, 2, 2, 2), 1),
        ((48, 40, 3, 3, 3), 1),
        ((13, 7, 3, 3, 3), 1),
        ((16, 1, 3, 3, 3), 1),
        ((1, 16, 3, 3, 3), 1),
        ((64, 8, 3, 3, 3), 8),
        ((32, 1, 3, 3, 3), 32),
        ((512, 512, 3, 3, 3), 1),
    ],
)
def test_a_sound_convolution_passes(kind: Kind, shape: tuple[int, ...], groups: int) -> None:
    """Plain, pointwise, anisotropic, with odd channels, grouped, depthwise, large."""
    smoke = smoke_layer(convolution_of(shape, kind, groups), CUDA)
    assert (smoke.status, smoke.reason, smoke.finite) == ("passed", None, True)
    dtype, layout = smoke.parity
    assert dtype.relative is not None
    assert 0 < dtype.relative < DTYPE_THRESHOLD / 2
    assert layout.relative is not None
    assert layout.relative < LAYOUT_THRESHOLD / 2  # or the threshold is too tight for this GPU


@pytest.mark.parametrize("kind", KINDS)
def test_the_converted_weight_gives_a_channels_last_output(kind: Kind) -> None:
    """And a weight that was left alone a contiguous one."""
    convolution = convolution_of((64, 64, 3, 3, 3), kind)
    assert smoke_layer(convolution, CUDA).output_memory_format == "channels_last_3d"
    kept = Convolution(
        "w", kind, convolution.shape, 1, convolution.contiguous, convolution.contiguous
    )
    assert smoke_layer(kept, CUDA).output_memory_format == "contiguous_format"


@pytest.mark.parametrize("kind", KINDS)
def test_the_emulation_on_a_cpu_agrees_with_the_gpu(kind: Kind) -> None:
    """To what another order of accumulation costs."""
    convolution = convolution_of((32, 32, 3, 3, 3), kind)
    weight = convolution.contiguous()
    activation = torch.randn(2, 32, 8, 8, 8, generator=torch.Generator().manual_seed(3))

    def run(activation: Tensor, weight: Tensor) -> Tensor:
        return convolve(convolution, activation, weight)

    with torch.no_grad():
        native = run_in_float16(run, activation.to(CUDA), weight.to(CUDA))
        emulated = run_in_float16(run, activation, weight)
    assert native.dtype == emulated.dtype == torch.float16
    assert compare(emulated, native.cpu(), pair="device", threshold=LAYOUT_THRESHOLD).passed
    assert (name_on(CUDA), name_on(CPU)) == (NATIVE, EMULATED)


@pytest.mark.parametrize("kind", KINDS)
def test_a_corrupting_layout_is_found_and_blamed(kind: Kind) -> None:
    """A convolution that is a few percent off for channels-last weights alone."""

    def corrupting(convolution: Convolution, activation: Tensor, weight: Tensor) -> Tensor:
        output = convolve(convolution, activation, weight)
        is_converted = weight.stride() == strides_of(weight.shape, "channels_last_3d")
        return output * 1.02 if is_converted else output

    convolution = convolution_of((32, 32, 3, 3, 3), kind)
    smoke = smoke_layer(convolution, CUDA, convolve=corrupting)
    assert smoke.status == "failed"
    assert "layout is at fault" in str(smoke.reason)
    assert smoke.parity[0].passed


@pytest.mark.parametrize("factor", [1e7, 1e-9])
def test_what_fp16_breaks_is_not_blamed_on_the_layout(factor: float) -> None:
    """Weights that overflow, and weights that vanish."""
    smoke = smoke_layer(convolution_of((32, 32, 3, 3, 3), factor=factor), CUDA)
    assert smoke.status == "inaccurate"
    assert "float16 is at fault" in str(smoke.reason)


def test_the_reference_is_not_computed_in_tf32() -> None:
    """It is far closer to float64 than 10 bits of TF32 could be, even where TF32 is allowed."""
    weight = convolution_of((64, 64, 3, 3, 3)).contiguous().to(CUDA)
    activation = torch.randn(2, 64, 16, 16, 16, device=CUDA)
    with torch.no_grad():
        with exact_float32():
            found = torch.nn.functional.conv3d(activation, weight)
        exact = torch.nn.functional.conv3d(activation.double().cpu(), weight.double().cpu())
    assert compare(exact, found.cpu(), pair="tf32", threshold=1e-5).passed


def test_an_input_beyond_the_memory_is_shrunk(little_memory: None) -> None:
    """The layer has its result, which says so, and the device works afterwards."""
    convolution = convolution_of((64, 64, 3, 3, 3))
    smoke = smoke_layer(convolution, CUDA, (8, 64, 128, 128, 128))  # 4 GiB in float32
    assert (smoke.status, smoke.input_shape) == ("passed", [1, 64, 64, 64, 64])
    assert str(smoke.reason).startswith("memory ran out")
    assert smoke_layer(convolution, CUDA).reason is None


def test_the_chosen_input_is_of_realistic_size() -> None:
    """Kernels are chosen by size; a GPU gets more work than a CPU."""
    convolution = convolution_of((64, 64, 3, 3, 3))
    assert input_shape_of(convolution, CUDA, None) == (2, 64, 32, 32, 32)


def test_random_numbers_of_the_device_are_left_alone() -> None:
    """The input is drawn from a generator of its own."""
    state = torch.cuda.get_rng_state()
    smoke_layer(convolution_of((8, 8, 3, 3, 3)), CUDA)
    assert torch.equal(state, torch.cuda.get_rng_state())


def test_ranges_are_the_same_on_the_device() -> None:
    """A tensor may be audited where it lies."""
    values = torch.tensor([0.0, -0.0, 1e-9, 2**-25, 65519.0, 65520.0, -1e6, 3.0])
    assert audit("w", [values.to(CUDA)]) == audit("w", [values])
