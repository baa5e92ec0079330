from collections.abc import Callable
from math import prod, sqrt

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from convlast.errors import DeviceLostError, MalformedCheckpointError
from convlast.layout.memory_format import strides_of
from convlast.report import Kind
from convlast.smoke import device_health as health
from convlast.smoke.layers import Convolution, convolve, smoke_layer
from convlast.smoke.out_of_memory import NO_ENGINE

CPU = torch.device("cpu")
KINDS: list[Kind] = ["Conv3d", "ConvTranspose3d", "unknown"]
SHAPE = (8, 16, 3, 3, 3)


def converted_of(weight: Tensor) -> Tensor:
    """Lay a weight out as PyTorch's own function does."""
    strides = strides_of(weight.shape, "channels_last_3d")
    return torch.empty_strided(weight.shape, strides, dtype=weight.dtype).copy_(weight)


def weight_of(*shape: int) -> Tensor:
    """Draw a weight whose outputs are of scale one."""
    generator = torch.Generator().manual_seed(7)
    fan_in = prod(shape[1:])
    return torch.randn(shape, generator=generator) / sqrt(fan_in)


def convolution_of(weight: Tensor, kind: Kind = "Conv3d", groups: int | None = 1) -> Convolution:
    """Describe a convolution whose weight is at hand."""
    return Convolution(
        "w", kind, tuple(weight.shape), groups, lambda: weight, lambda: converted_of(weight)
    )


def is_converted(weight: Tensor) -> bool:
    """Say whether a weight has the strides of channels-last."""
    return weight.stride() == strides_of(weight.shape, "channels_last_3d")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("kernel", [(1, 1, 1), (3, 3, 3), (2, 2, 2), (1, 7, 7), (3, 1, 1)])
@pytest.mark.parametrize(
    ("channels", "groups"), [((8, 16), 1), ((8, 1), 8), ((1, 8), 1), ((6, 3), 2)]
)
def test_a_sound_convolution_passes(
    kind: Kind, kernel: tuple[int, ...], channels: tuple[int, int], groups: int
) -> None:
    """Converted weights pass for any kernel, plain, grouped, depthwise, transposed or not."""
    smoke = smoke_layer(convolution_of(weight_of(*channels, *kernel), kind, groups), CPU)
    assert (smoke.status, smoke.reason, smoke.finite) == ("passed", None, True)
    dtype, layout = smoke.parity
    assert (dtype.pair, layout.pair) == ("dtype", "layout")
    assert dtype.relative is not None
    assert 0 < dtype.relative < 2e-3  # fp16 has an effect, so it was really taken
    assert layout.relative is not None
    assert layout.relative < 2e-3


@pytest.mark.parametrize("kind", KINDS)
def test_the_format_that_came_out_is_the_weight_s(kind: Kind) -> None:
    """The output is channels-last for a converted weight, and contiguous for an unchanged one."""
    weight = weight_of(*SHAPE)
    smoke = smoke_layer(convolution_of(weight, kind), CPU)
    assert smoke.output_memory_format == "channels_last_3d"
    kept = Convolution("w", kind, SHAPE, 1, lambda: weight, lambda: weight)
    smoke = smoke_layer(kept, CPU)
    assert smoke.output_memory_format == "contiguous_format"
    assert smoke.parity[1].max_abs == 0


@pytest.mark.parametrize("kernel", [1, 3])
def test_the_contiguous_runs_are_contiguous_whatever_the_strides_of_the_original(
    kernel: int,
) -> None:
    """The reference is contiguous, also for a 1×1×1 kernel."""
    seen = []

    def spy(convolution: Convolution, activation: Tensor, weight: Tensor) -> Tensor:
        seen.append(weight.stride())
        assert activation.is_contiguous()
        assert not weight.requires_grad
        return convolve(convolution, activation, weight)

    weight = torch.nn.Parameter(converted_of(weight_of(8, 16, kernel, kernel, kernel)))
    smoke = smoke_layer(convolution_of(weight), CPU, convolve=spy)
    contiguous = strides_of(weight.shape, "contiguous_format")
    assert seen == [contiguous, contiguous, weight.stride()]
    assert smoke.status == "passed"


@settings(deadline=None, max_examples=50)
@given(
    st.sampled_from(KINDS),
    st.tuples(*[st.integers(1, 4)] * 5),
    st.none() | st.just(1),
    st.floats(-9, 5),
)
def test_only_the_dtype_is_ever_at_fault_on_a_sound_device(
    kind: Kind, shape: tuple[int, ...], groups: int | None, exponent: float
) -> None:
    """Whatever the scale of the weights, the layout is not blamed for errors of fp16."""
    convolution = convolution_of(weight_of(*shape) * 10**exponent, kind, groups)
    smoke = smoke_layer(convolution, CPU)
    assert smoke.status in ("passed", "inaccurate")
    assert smoke == smoke_layer(convolution, CPU)  # and it is the same each time


def _scaled(output: Tensor) -> Tensor:
    return output * 1.02


def _one_value(output: Tensor) -> Tensor:
    output = output.clone()
    output[-1, -1, -1, -1, -1] += output.abs().max() / 50
    return output


def _scrambled(output: Tensor) -> Tensor:
    """Read the values in the order of the other format, as if strides had been ignored."""
    return output.as_strided(output.shape, strides_of(output.shape, "contiguous_format"))


def _nan(output: Tensor) -> Tensor:
    return output.where(output != output.max(), torch.nan)


def _raising(output: Tensor) -> Tensor:
    raise RuntimeError("no kernel for NDHWC\nstack trace")


def _cropped(output: Tensor) -> Tensor:
    return output[:, :, 1:]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", [_scaled, _one_value, _scrambled, _nan, _raising, _cropped])
def test_a_layout_that_corrupts_the_output_is_found_and_blamed(
    kind: Kind, fault: Callable[[Tensor], Tensor]
) -> None:
    """A wrong value fails the layer, large or small, one or all."""

    def corrupting(convolution: Convolution, activation: Tensor, weight: Tensor) -> Tensor:
        output = convolve(convolution, activation, weight)
        return fault(output) if is_converted(weight) else output

    smoke = smoke_layer(convolution_of(weight_of(*SHAPE), kind), CPU, convolve=corrupting)
    assert smoke.status == "failed"
    assert "layout" in str(smoke.reason) or "converted" in str(smoke.reason)
    assert "stack trace" not in str(smoke.reason)
    assert smoke.parity[0].passed


def test_a_converted_weight_of_other_values_is_found() -> None:
    """A weight whose bytes were permuted but whose strides were not fails."""
    weight = weight_of(*SHAPE)
    wrong = converted_of(weight).as_strided(SHAPE, weight.stride())
    smoke = smoke_layer(Convolution("w", "Conv3d", SHAPE, 1, lambda: weight, lambda: wrong), CPU)
    assert smoke.status == "failed"


@pytest.mark.parametrize(
    ("factor", "words"),
    [(1e6, "infinite"), (1e-9, "off by"), (torch.nan, "not finite"), (torch.inf, "not finite")],
)
def test_what_fp16_breaks_is_not_blamed_on_the_layout(factor: float, words: str) -> None:
    """Weights that overflow or vanish, and weights that were never finite."""
    smoke = smoke_layer(convolution_of(weight_of(*SHAPE) * factor), CPU)
    assert smoke.status == "inaccurate"
    assert words in str(smoke.reason)
    assert smoke.finite is (factor == 1e-9)


def test_one_weight_that_overflows_in_the_padding_is_not_blamed_on_the_layout() -> None:
    """An infinite weight that meets padding is fp16's fault, though kernels differ in 0 · ∞."""
    weight = weight_of(*SHAPE)
    weight[0, 0, 0, 0, 0] = 1e5

    def thrifty(convolution: Convolution, activation: Tensor, weight: Tensor) -> Tensor:
        output = convolve(convolution, activation, weight)
        return output.nan_to_num(nan=0.0) if is_converted(weight) else output

    for double in (convolve, thrifty):
        assert smoke_layer(convolution_of(weight), CPU, convolve=double).status == "inaccurate"


def test_an_output_beyond_the_range_is_inaccurate() -> None:
    """Sums that overflow are found, although the weights fit into fp16."""
    smoke = smoke_layer(convolution_of(weight_of(*SHAPE).sign() * 3e4), CPU)
    assert (smoke.status, smoke.finite) == ("inaccurate", False)


@pytest.mark.parametrize(
    "dtype",
    [torch.float64, torch.bfloat16, torch.float16, torch.float8_e4m3fn, torch.float8_e5m2],
    ids=str,
)
def test_every_floating_point_dtype_is_run(dtype: torch.dtype) -> None:
    """A weight of any floating-point dtype is run, with its values as they are stored."""
    smoke = smoke_layer(convolution_of(weight_of(*SHAPE).to(dtype)), CPU)
    assert (smoke.status, smoke.output_memory_format) == ("passed", "channels_last_3d")


@pytest.mark.parametrize("dtype", [torch.int8, torch.bool, torch.complex64], ids=str)
def test_other_weights_are_skipped_by_name(dtype: torch.dtype) -> None:
    """A weight that is not floating-point is skipped, and the reason names its dtype."""
    smoke = smoke_layer(convolution_of(torch.ones(SHAPE, dtype=dtype)), CPU)
    assert smoke.status == "skipped"
    assert str(dtype) in str(smoke.reason)


@pytest.mark.parametrize("shape", [(0, 8, 3, 3, 3), (8, 0, 3, 3, 3), (8, 8, 3, 0, 3)])
def test_a_weight_of_no_elements_is_skipped(shape: tuple[int, ...]) -> None:
    """A weight without elements is skipped."""
    smoke = smoke_layer(convolution_of(torch.empty(shape)), CPU)
    assert (smoke.status, smoke.reason) == ("skipped", "the weight has no elements")


def test_the_input_is_the_caller_s() -> None:
    """A given input shape is used, with the layer's own number of channels."""
    smoke = smoke_layer(convolution_of(weight_of(*SHAPE)), CPU, (3, 1, 4, 5, 6))
    assert smoke.input_shape == [3, 16, 4, 5, 6]
    assert smoke.status == "passed"


def test_an_input_that_is_too_small_for_the_kernel_is_said() -> None:
    """An even transposed kernel crops a single position away."""
    convolution = convolution_of(weight_of(8, 8, 2, 2, 2), "ConvTranspose3d")
    smoke = smoke_layer(convolution, CPU, (1, 8, 1, 4, 4))
    assert smoke.status == "skipped"
    assert "too small for the kernel" in str(smoke.reason)


def test_groups_that_cannot_be_are_a_result() -> None:
    """Groups that do not fit are skipped, since PyTorch refuses them in any layout."""
    smoke = smoke_layer(convolution_of(weight_of(*SHAPE), groups=3), CPU)
    assert smoke.status == "skipped"
    assert "RuntimeError" in str(smoke.reason)


OUT_OF_MEMORY = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory."),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=repr)
def test_out_of_memory_shrinks_the_input_and_says_so(error: Exception) -> None:
    """If memory runs out, a smaller input is used, and the layer is judged."""

    def hungry(convolution: Convolution, activation: Tensor, weight: Tensor) -> Tensor:
        if activation.numel() > 16 * 4**3:
            raise error
        return convolve(convolution, activation, weight)

    smoke = smoke_layer(
        convolution_of(weight_of(*SHAPE)), CPU, (4, 16, 16, 16, 16), convolve=hungry
    )
    assert (smoke.status, smoke.input_shape) == ("passed", [1, 16, 4, 4, 4])
    assert smoke.reason == "memory ran out with an input of (4, 16, 16, 16, 16)"
    broken = weight_of(*SHAPE) * 1e6
    smoke = smoke_layer(convolution_of(broken), CPU, (4, 16, 16, 16, 16), convolve=hungry)
    assert smoke.status == "inaccurate"
    assert "float16 is at fault" in str(smoke.reason)
    assert "memory ran out" in str(smoke.reason)


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=repr)
def test_memory_that_never_suffices_skips_the_layer(error: Exception) -> None:
    """If memory never suffices, the layer is skipped after a few sizes."""
    calls = []

    def starving(convolution: Convolution, activation: Tensor, weight: Tensor) -> Tensor:
        calls.append(activation.shape)
        raise error

    smoke = smoke_layer(convolution_of(weight_of(*SHAPE)), CPU, convolve=starving)
    assert smoke.status == "skipped"
    assert str(smoke.reason).startswith("out-of-memory: ")
    assert len(calls) == 3


def refused() -> RuntimeError:
    """Return PyTorch's error if no cuDNN kernel takes a convolution."""
    return RuntimeError(f"GET was {NO_ENGINE}")


def test_a_convolution_that_cudnn_refuses_is_tried_on_less_of_its_input() -> None:
    """If a smaller input runs, a refusal by cuDNN means that memory was short."""

    def hungry(convolution: Convolution, activation: Tensor, weight: Tensor) -> Tensor:
        if activation.numel() > 16 * 4**3:
            raise refused()
        return convolve(convolution, activation, weight)

    shape = (4, 16, 16, 16, 16)
    smoke = smoke_layer(convolution_of(weight_of(*SHAPE)), CPU, shape, convolve=hungry)
    assert (smoke.status, smoke.input_shape) == ("passed", [1, 16, 4, 4, 4])


def test_a_layout_that_cudnn_refuses_at_every_size_fails() -> None:
    """If no smaller input runs, a refusal by cuDNN is the result."""

    def picky(convolution: Convolution, activation: Tensor, weight: Tensor) -> Tensor:
        if weight.stride(1) == 1:
            raise refused()
        return convolve(convolution, activation, weight)

    smoke = smoke_layer(convolution_of(weight_of(*SHAPE)), CPU, convolve=picky)
    assert smoke.status == "failed"
    assert NO_ENGINE in str(smoke.reason)


def test_memory_that_runs_out_while_a_weight_is_read_skips_the_layer() -> None:
    """If memory runs out while a weight is read, the layer is skipped."""

    def read() -> Tensor:
        raise MemoryError

    smoke = smoke_layer(Convolution("w", "Conv3d", SHAPE, 1, read, read), CPU)
    assert (smoke.status, str(smoke.reason)[:13]) == ("skipped", "out-of-memory")


@pytest.mark.parametrize("error", [MalformedCheckpointError("torn"), KeyboardInterrupt()], ids=repr)
def test_what_is_not_the_convolution_s_trouble_is_passed_on(error: BaseException) -> None:
    """Errors of the library are raised, from reading a weight and from running it."""

    def fail(*_: object) -> Tensor:
        raise error

    with pytest.raises(type(error)):
        smoke_layer(Convolution("w", "Conv3d", SHAPE, 1, fail, fail), CPU)
    with pytest.raises(type(error)):
        smoke_layer(convolution_of(weight_of(*SHAPE)), CPU, convolve=fail)


def test_a_weight_that_cannot_be_read_is_no_result() -> None:
    """The reader's own errors are passed on."""

    def read() -> Tensor:
        raise RuntimeError("the storage is gone")

    with pytest.raises(RuntimeError, match="the storage is gone"):
        smoke_layer(Convolution("w", "Conv3d", SHAPE, 1, read, read), CPU)


def test_a_lost_device_ends_the_smoke(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lost device ends the smoke, since later results would be worthless."""

    def fail(*_: object) -> Tensor:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(health, "wait_for", fail)
    with pytest.raises(DeviceLostError, match="illegal memory access"):
        smoke_layer(convolution_of(weight_of(*SHAPE)), CPU)


def test_a_smoke_changes_nothing_outside() -> None:
    """The smoke changes neither the weight, nor the random state, nor the gradient setting."""
    weight = weight_of(*SHAPE)
    before, state = weight.clone(), torch.get_rng_state()
    smoke_layer(convolution_of(weight), CPU)
    assert torch.equal(weight, before)
    assert torch.equal(state, torch.get_rng_state())
    assert torch.is_grad_enabled()
