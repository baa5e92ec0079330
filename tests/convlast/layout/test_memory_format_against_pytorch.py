"""The conversion of a module gives what PyTorch's own function gives, and does what that promises.

PyTorch checks its function on value and output layout, and cuDNN's NDHWC kernels against fp64; the
same facts are checked here, on the CPU in fp32 and on a GPU in fp16 too.

Source: https://github.com/pytorch/pytorch/blob/main/test/nn/test_convolution.py
(`test_convert_conv3d_weight_memory_format`, `test_conv_cudnn_ndhwc`)
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import parametrizations

import convlast

CHANNELS_LAST, CONTIGUOUS = torch.channels_last_3d, torch.contiguous_format
FORMATS = [CHANNELS_LAST, CONTIGUOUS]
PLACES = [
    pytest.param("cpu", torch.float32, id="cpu-float32"),
    pytest.param("cuda", torch.float32, id="cuda-float32", marks=pytest.mark.gpu),
    pytest.param("cuda", torch.float16, id="cuda-float16", marks=pytest.mark.gpu),
]


def small_integers(shape: tuple[int, ...], seed: int) -> Tensor:
    """Draw whole numbers from -2 to 1, whose products and short sums fp16 holds exactly."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-2, 2, shape, generator=generator).float()


def with_small_integers(module: nn.Module) -> nn.Module:
    """Give each parameter small whole numbers, its layout kept."""
    with torch.no_grad():
        for seed, parameter in enumerate(module.parameters()):
            parameter.copy_(small_integers(tuple(parameter.shape), seed))
    return module


@pytest.mark.parametrize(("device", "dtype"), PLACES)
@pytest.mark.parametrize("kind", [nn.Conv3d, nn.ConvTranspose3d])
def test_value_and_layout_of_the_output(
    device: str, dtype: torch.dtype, kind: type[nn.Conv3d | nn.ConvTranspose3d]
) -> None:
    """The output has the weight's layout, through batch norms, and the values stay the same."""
    model: nn.Module = nn.Sequential(
        kind(8, 4, 3), nn.BatchNorm3d(4), kind(4, 6, 2), nn.BatchNorm3d(6)
    )
    model = with_small_integers(model).to(device, dtype).eval()
    x = small_integers((2, 8, 6, 6, 6), 9).to(device, dtype)
    with torch.no_grad():
        expected = model(x)
        # TF32 and fp16 round the batch norms' output to 10 bits on its way into a convolution.
        tolerance = float(expected.abs().max()) * (1e-5 if device == "cpu" else 2**-8)
        for memory_format in [*FORMATS, *FORMATS]:
            model = convlast.convert_conv3d_weight_memory_format(model, memory_format)
            output = model(x)
            assert output.is_contiguous(memory_format=memory_format)
            torch.testing.assert_close(output, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize(("device", "dtype"), PLACES)
@pytest.mark.parametrize(
    ("shape", "out_channels", "groups"),
    [
        ((2, 8, 4, 4, 4), 4, 1),
        ((2, 8, 4, 4, 4), 8, 8),
        ((1, 16, 18, 18, 18), 16, 1),
        ((1, 16, 18, 18, 18), 16, 16),
    ],
)
def test_ndhwc_convolutions_agree_with_float64(
    device: str, dtype: torch.dtype, shape: tuple[int, ...], out_channels: int, groups: int
) -> None:
    """Outputs and gradients are right and channels-last, plain, grouped and depthwise."""
    if device == "cpu":
        # PyTorch leaves a single small sample to a kernel of its own that knows no NDHWC.
        shape = (2, *shape[1:])
    exact = nn.Conv3d(shape[1], out_channels, 3, groups=groups, dtype=torch.float64)
    with_small_integers(exact)
    conv = copy.deepcopy(exact).to(device, dtype)
    convlast.convert_conv3d_weight_memory_format(conv, CHANNELS_LAST)
    exact_x = small_integers(shape, 3).double().requires_grad_()
    x = exact_x.detach().to(device, dtype).to(memory_format=CHANNELS_LAST).requires_grad_()
    output, exact_output = conv(x), exact(exact_x)
    gradient = small_integers(tuple(output.shape), 4)
    output.backward(gradient.to(device, dtype))
    exact_output.backward(gradient.double())
    for tensor in (output, x.grad, conv.weight.grad):
        assert tensor is not None
        assert tensor.is_contiguous(memory_format=CHANNELS_LAST)
    found = [output, x.grad, *(parameter.grad for parameter in conv.parameters())]
    expected = [exact_output, exact_x.grad, *(parameter.grad for parameter in exact.parameters())]
    torch.testing.assert_close(found, expected, check_device=False, check_dtype=False)


class Subclass(nn.Conv3d):
    """A user-defined convolution."""


class Odd(nn.Module):
    """Parameters that do not belong to a convolution, some of them 5-D."""

    def __init__(self) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.randn(1, 8, 4, 4, 4))
        self.register_buffer("offset", torch.randn(2, 8, 3, 3, 3))
        self.flat = nn.Conv2d(3, 4, 3)
        self.linear = nn.Linear(3, 4)
        self.conv = nn.Conv3d(3, 4, 3)


def _tied() -> nn.Module:
    first, second = nn.Conv3d(8, 8, 3), nn.Conv3d(8, 8, 3)
    second.weight = first.weight
    return nn.Sequential(first, second, first)


def _on_one_storage() -> nn.Module:
    first, second = nn.Conv3d(8, 8, 3), nn.Conv3d(8, 8, 3)
    second.weight = nn.Parameter(first.weight.data)
    return nn.Sequential(first, second)


def _frozen() -> nn.Module:
    return nn.Sequential(nn.Conv3d(3, 4, 3), nn.BatchNorm3d(4)).requires_grad_(False)


def _converted(make: Callable[[], nn.Module]) -> nn.Module:
    return nn.utils.convert_conv3d_weight_memory_format(make(), CHANNELS_LAST)


def _weight_normed() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # deprecated, and in many checkpoints
        return nn.Sequential(nn.utils.weight_norm(nn.Conv3d(8, 4, 3)), nn.Conv3d(4, 4, 3))


MODULES: dict[str, Callable[[], nn.Module]] = {
    "itself": lambda: nn.Conv3d(8, 4, 3),
    "transposed": lambda: nn.ConvTranspose3d(8, 4, 3),
    "nested": lambda: nn.Sequential(nn.Sequential(nn.Conv3d(8, 4, 3)), nn.ModuleList([Odd()])),
    "subclass": lambda: Subclass(8, 4, 3),
    "tied": _tied,
    "one storage": _on_one_storage,
    "1x1x1": lambda: nn.Sequential(nn.Conv3d(8, 4, 1), nn.ConvTranspose3d(4, 8, 1)),
    "one channel": lambda: nn.Sequential(nn.Conv3d(1, 4, 3), nn.Conv3d(4, 1, 3)),
    "one of all": lambda: nn.Conv3d(1, 1, 1),
    "grouped": lambda: nn.Sequential(nn.Conv3d(8, 4, 3, groups=2)),
    "depthwise": lambda: nn.Sequential(nn.Conv3d(8, 8, 3, groups=8)),
    "mixed": lambda: nn.Sequential(nn.Conv1d(8, 8, 3), nn.Conv2d(8, 8, 3), nn.Conv3d(8, 8, 3)),
    "odd": Odd,
    "float16": lambda: nn.Conv3d(8, 4, 3).half(),
    "bfloat16": lambda: nn.Conv3d(8, 4, 3).bfloat16(),
    "float64": lambda: nn.Conv3d(8, 4, 3).double(),
    "frozen": _frozen,
    "converted": lambda: _converted(lambda: nn.Conv3d(8, 4, 3)),
    "1x1x1 converted": lambda: _converted(lambda: nn.Conv3d(8, 4, 1)),
    "weight norm": _weight_normed,
    "parametrized": lambda: parametrizations.weight_norm(nn.Conv3d(8, 4, 3)),
    "spectral norm": lambda: parametrizations.spectral_norm(nn.Conv3d(8, 4, 3)),
    "nothing": nn.Identity,
}


def state_of(module: nn.Module) -> dict[str, object]:
    """Return all that is known of a module's tensors: names, kinds, strides, sharing."""
    tensors = dict(module.named_parameters(remove_duplicate=False))
    parameters = set(tensors)
    tensors |= dict(module.named_buffers(remove_duplicate=False))  # type: ignore[arg-type] # tensors too
    storages = [tensor.untyped_storage().data_ptr() for tensor in tensors.values()]
    return {
        name: (
            name in parameters,
            tensor.dtype,
            tensor.requires_grad,
            tuple(tensor.shape),
            tensor.stride(),
            tensor.storage_offset(),
            storages.index(tensor.untyped_storage().data_ptr()),
        )
        for name, tensor in tensors.items()
    }


@pytest.mark.parametrize("memory_format", FORMATS, ids=str)
@pytest.mark.parametrize("make", MODULES.values(), ids=MODULES.keys())
def test_the_result_is_pytorch_s(
    make: Callable[[], nn.Module], memory_format: torch.memory_format
) -> None:
    """The same strides, values and sharing, of the same parameters, in the same module."""
    with torch.random.fork_rng():
        state = torch.get_rng_state()
        ours = make().eval()
        torch.set_rng_state(state)
        pytorchs = make().eval()
    values = {name: tensor.clone() for name, tensor in ours.state_dict().items()}
    identities = [id(parameter) for parameter in ours.parameters()]
    assert convlast.convert_conv3d_weight_memory_format(ours, memory_format) is ours
    nn.utils.convert_conv3d_weight_memory_format(pytorchs, memory_format)
    assert state_of(ours) == state_of(pytorchs)
    assert [id(parameter) for parameter in ours.parameters()] == identities
    assert list(ours.state_dict()) == list(values)
    for name, tensor in ours.state_dict().items():
        assert torch.equal(tensor, values[name]), name


@settings(deadline=None, max_examples=50)
@given(
    st.sampled_from([nn.Conv3d, nn.ConvTranspose3d]),
    st.tuples(*[st.integers(0, 4)] * 5),
    st.sampled_from(FORMATS),
)
def test_the_strides_are_pytorch_s_for_any_shape(
    kind: type[nn.Conv3d | nn.ConvTranspose3d],
    shape: tuple[int, ...],
    memory_format: torch.memory_format,
) -> None:
    """Empty weights included; and converting twice is converting once."""
    ours, pytorchs = kind(1, 1, 1), kind(1, 1, 1)
    ours.weight = nn.Parameter(torch.randn(shape))
    pytorchs.weight = nn.Parameter(ours.weight.detach().clone())
    convlast.convert_conv3d_weight_memory_format(ours, memory_format)
    nn.utils.convert_conv3d_weight_memory_format(pytorchs, memory_format)
    assert ours.weight.stride() == pytorchs.weight.stride()
    assert torch.equal(ours.weight, pytorchs.weight)
    convlast.convert_conv3d_weight_memory_format(ours, memory_format)
    assert ours.weight.stride() == pytorchs.weight.stride()


def test_what_cannot_be_converted_is_refused_as_pytorch_refuses_it() -> None:
    """A lazy convolution, which has no weight yet, is refused as PyTorch refuses it."""
    with pytest.raises(ValueError, match="uninitialized") as pytorchs:
        nn.utils.convert_conv3d_weight_memory_format(nn.LazyConv3d(4, 3), CHANNELS_LAST)
    with pytest.raises(type(pytorchs.value), match="uninitialized"):
        convlast.convert_conv3d_weight_memory_format(nn.LazyConv3d(4, 3), CHANNELS_LAST)


@pytest.mark.parametrize("memory_format", FORMATS, ids=str)
def test_a_script_module_is_left_alone_as_pytorch_leaves_it(
    memory_format: torch.memory_format,
) -> None:
    """A script module, whose convolutions are not `nn.Conv3d`, is left alone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        traced = torch.jit.script(nn.Conv3d(8, 4, 3))
    before = state_of(traced)
    assert convlast.convert_conv3d_weight_memory_format(traced, memory_format) is traced
    assert state_of(traced) == before


@pytest.mark.parametrize(
    ("device", "dtype"),
    [
        ("cpu", torch.float32),
        pytest.param("cuda", torch.float16, marks=pytest.mark.gpu),
    ],
)
def test_the_call_in_pytorch_s_documentation_runs(device: str, dtype: torch.dtype) -> None:
    """Its older pages pass `torch.channels_last`, which PyTorch itself refuses for 5-D weights."""
    x = torch.randint(1, 10, (2, 8, 4, 4, 4), device=device).to(dtype)
    model = nn.Sequential(nn.Conv3d(8, 4, 3)).to(device, dtype)
    expected = copy.deepcopy(model)
    model = convlast.convert_conv3d_weight_memory_format(model, torch.channels_last)
    output = model(x)
    assert output.is_contiguous(memory_format=CHANNELS_LAST)
    nn.utils.convert_conv3d_weight_memory_format(expected, CHANNELS_LAST)
    assert state_of(model) == state_of(expected)
    torch.testing.assert_close(output, expected(x))
    with pytest.raises(RuntimeError):
        nn.utils.convert_conv3d_weight_memory_format(expected, torch.channels_last)
