from math import prod

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from convlast.report import Kind
from convlast.smoke.convolution import (
    ACCELERATION,
    LARGEST,
    MACS,
    Convolution,
    convolve,
    fits,
    input_shape_of,
    make_input,
)

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
kinds: st.SearchStrategy[Kind] = st.sampled_from(["Conv3d", "ConvTranspose3d", "unknown"])
channels = st.integers(1, 3)
kernels = st.tuples(*[st.integers(1, 5)] * 3)


def convolution_of(
    shape: tuple[int, ...], kind: Kind = "Conv3d", groups: int | None = 1
) -> Convolution:
    """Describe a convolution with a weight of ones."""
    return Convolution(
        "w", kind, shape, groups, lambda: torch.ones(shape), lambda: torch.ones(shape)
    )


@settings(deadline=None, max_examples=50)
@given(kinds, channels, channels, channels, kernels)
def test_the_chosen_input_fits_and_each_tap_meets_a_value(
    kind: Kind, groups: int, out: int, into: int, kernel: tuple[int, ...]
) -> None:
    """A weight of one at any tap gives an output that is not zero."""
    first = (into if kind == "ConvTranspose3d" else out) * groups
    second = out if kind == "ConvTranspose3d" else into
    convolution = convolution_of((first, second, *kernel), kind, groups)
    shape = input_shape_of(convolution, CPU, None)
    assert fits(convolution, shape)
    for corner in (0, -1):
        weight = torch.zeros(convolution.shape)
        weight[:, :, corner, corner, corner] = 1
        assert convolve(convolution, torch.ones(shape), weight).any()


@pytest.mark.parametrize("device", [CPU, CUDA], ids=str)
@given(
    st.sampled_from([1, 3, 64, 512, 2048]),
    st.sampled_from([1, 3, 64, 512, 2048]),
    st.integers(1, 7),
)
def test_a_run_costs_bounded_work(device: torch.device, out: int, into: int, kernel: int) -> None:
    """An input is within the budget, or has the smallest useful size."""
    convolution = convolution_of((out, into, kernel, kernel, kernel))
    shape = input_shape_of(convolution, device, None)
    budget = MACS * (ACCELERATION if device == CUDA else 1)
    work = prod(convolution.shape) * shape[0] * prod(shape[2:])
    assert work <= budget or shape[2:] == (max(3, kernel // 2 + 1),) * 3
    assert max(shape[2:]) <= (2 * LARGEST if device == CUDA else LARGEST)


def test_a_given_shape_is_taken_but_for_its_channels() -> None:
    """N, D, H and W are the caller's, C is the layer's."""
    given_shape = (5, 99, 4, 6, 7)
    assert input_shape_of(convolution_of((8, 2, 3, 3, 3), groups=4), CPU, given_shape) == (
        (5, 8, 4, 6, 7)
    )
    transposed = convolution_of((8, 2, 3, 3, 3), "ConvTranspose3d", 4)
    assert input_shape_of(transposed, CPU, given_shape) == (5, 8, 4, 6, 7)


@settings(deadline=None, max_examples=50)
@given(kinds, kernels, st.tuples(*[st.integers(1, 4)] * 3))
def test_what_fits_is_what_pytorch_runs(
    kind: Kind, kernel: tuple[int, ...], extents: tuple[int, ...]
) -> None:
    """An input that does not fit is refused by PyTorch, or gives an empty output."""
    convolution = convolution_of((1, 1, *kernel), kind)
    shape = (1, 1, *extents)
    try:
        output = convolve(convolution, torch.ones(shape), torch.ones(1, 1, *kernel))
    except RuntimeError:
        runs = False
    else:
        runs = output.numel() > 0
    assert fits(convolution, shape) == runs


def test_what_the_file_does_not_tell_is_said() -> None:
    """Assumptions are listed with their values; known hyperparameters are not among them."""
    always = ["stride 1", "padding (1, 0, 2)", "dilation 1"]
    shape = (8, 2, 3, 1, 5)
    assert convolution_of(shape, groups=4).assumed == always
    assert convolution_of(shape, groups=None).assumed == [*always, "groups 1"]
    assert convolution_of(shape, "unknown", None).assumed == [*always, "groups 1", "Conv3d"]


def test_the_input_is_the_same_each_time_and_no_generator_is_touched() -> None:
    """A smoke neither depends on the caller's random numbers nor changes them."""
    state = torch.get_rng_state()
    first = make_input((2, 3, 4, 5, 6), CPU)
    torch.manual_seed(99)
    assert torch.equal(first, make_input((2, 3, 4, 5, 6), CPU))
    torch.set_rng_state(state)
    make_input((2, 3, 4, 5, 6), CPU)
    assert torch.equal(state, torch.get_rng_state())
    assert first.is_contiguous()
    assert 0.8 < first.std() < 1.2


def test_a_convolution_is_run_as_its_module_runs_it() -> None:
    """Conv3d and ConvTranspose3d with the same groups and padding give the same."""
    x = torch.randn(2, 8, 4, 5, 6)
    with torch.no_grad():
        conv = torch.nn.Conv3d(8, 12, (3, 1, 5), padding=(1, 0, 2), groups=4, bias=False)
        assert torch.equal(
            convolve(convolution_of(tuple(conv.weight.shape), groups=4), x, conv.weight), conv(x)
        )
        transposed = torch.nn.ConvTranspose3d(
            8, 12, (3, 1, 5), padding=(1, 0, 2), groups=4, bias=False
        )
        described = convolution_of(tuple(transposed.weight.shape), "ConvTranspose3d", 4)
        assert torch.equal(convolve(described, x, transposed.weight), transposed(x))
