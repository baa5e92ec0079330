from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import convlast
from convlast.errors import (
    ArchitectureMismatchError,
    MalformedCheckpointError,
    NotACheckpointError,
)
from convlast.options import Options

QUIET = Options(smoke="none")


def network() -> nn.Sequential:
    """Return a small network with both kinds of convolution."""
    return nn.Sequential(nn.Conv3d(3, 4, 3), nn.BatchNorm3d(4), nn.ConvTranspose3d(4, 2, 2))


@pytest.fixture
def converted(tmp_path: Path) -> Path:
    """Return a converted safetensors file of the network's weights."""
    torch.save(network().state_dict(), tmp_path / "model.pt")
    options = QUIET.model_copy(update={"container": "safetensors"})
    convlast.convert(tmp_path / "model.pt", tmp_path / "model.safetensors", options)
    return tmp_path / "model.safetensors"


def test_a_model_loaded_by_others_gets_its_layout(converted: Path) -> None:
    """After a plain load, strides are PyTorch's, values the file's, and the objects the same."""
    model = network()
    model.load_state_dict(load_file(converted))
    names = ["0.weight", "2.weight"]
    weights = [model.get_parameter(name) for name in names]
    values = [weight.detach().clone() for weight in weights]

    assert convlast.apply_layout(model, converted) is model

    expected = convlast.convert_conv3d_weight_memory_format(network(), torch.channels_last_3d)
    for name, weight, value in zip(names, weights, values, strict=True):
        assert model.get_parameter(name) is weight
        assert weight.stride() == expected.get_parameter(name).stride()
        assert torch.equal(weight, value)
        assert weight.requires_grad


def test_tied_weights_stay_tied(converted: Path) -> None:
    """A parameter that stands in two places is still one after its layout changed."""
    model = network()
    model.add_module("again", model[0])

    convlast.apply_layout(model, converted)

    assert model.get_parameter("0.weight") is model.get_parameter("again.weight")


def test_a_file_without_a_manifest_is_refused(tmp_path: Path) -> None:
    """There is no layout to apply in a file that was never converted."""
    torch.save(network().state_dict(), tmp_path / "model.pt")

    with pytest.raises(MalformedCheckpointError, match="no manifest"):
        convlast.apply_layout(network(), tmp_path / "model.pt")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """The refusal has its path, as that of `load_into`."""
    path = tmp_path / "model.pt"
    for verb in (convlast.apply_layout, convlast.load_into):
        with pytest.raises(NotACheckpointError, match=re.escape(f"no file {str(path)!r}")):
            verb(network(), path)


def test_a_model_that_does_not_fit_is_refused_untouched(converted: Path) -> None:
    """The refusal names each key, and no weight was changed before it."""
    model = nn.Sequential(nn.Conv3d(3, 4, 3), nn.BatchNorm3d(4), nn.ConvTranspose3d(4, 3, 2))

    with pytest.raises(ArchitectureMismatchError, match=r"Of another shape: 2\.weight"):
        convlast.apply_layout(model, converted)

    assert model.get_parameter("0.weight").is_contiguous()
    with pytest.raises(ArchitectureMismatchError, match=r"Not in the model: 0\.weight"):
        convlast.apply_layout(nn.Linear(2, 2), converted)


def test_loading_keeps_what_is_the_models_own(tmp_path: Path) -> None:
    """`load_into` keeps dtype, ties and `requires_grad`, and gives the layout."""
    torch.save({"a.weight": torch.randn(4, 4, 3, 3, 3)}, tmp_path / "model.pt")
    state_dict = torch.load(tmp_path / "model.pt", weights_only=True)
    state_dict["b.weight"] = state_dict["a.weight"]
    torch.save({"model": state_dict}, tmp_path / "model.pt")
    convlast.convert(tmp_path / "model.pt", tmp_path / "converted.pt", QUIET)
    model = nn.ModuleDict(
        {"a": nn.Conv3d(4, 4, 3, bias=False), "b": nn.Conv3d(4, 4, 3, bias=False)}
    )
    model["b"].weight = model["a"].weight
    model.half().requires_grad_(False)

    convlast.load_into(model, tmp_path / "converted.pt")

    weight = model.get_parameter("a.weight")
    assert model.get_parameter("b.weight") is weight
    assert (weight.dtype, weight.requires_grad) == (torch.float16, False)
    assert weight.stride() == (108, 1, 36, 12, 4)
    assert torch.equal(weight, state_dict["a.weight"].half())


def test_a_model_on_the_meta_device_gets_its_weights(tmp_path: Path) -> None:
    """A model without data is filled, layout included."""
    torch.save(network().state_dict(), tmp_path / "model.pt")
    convlast.convert(tmp_path / "model.pt", tmp_path / "converted.pt", QUIET)
    with torch.device("meta"):
        model = network()

    convlast.load_into(model, tmp_path / "converted.pt")

    assert not any(tensor.is_meta for tensor in model.state_dict().values())
    assert model.get_parameter("0.weight").stride() == (81, 1, 27, 9, 3)
