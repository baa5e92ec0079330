"""What is in memory already is converted, and nothing that shares its bytes is harmed."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from convlast import convert_state_dict
from convlast.errors import NoConv3dWeightsError, OptionError
from convlast.layout.memory_format import strides_of
from tests import builders
from tests.exactness import bits


def test_values_identity_and_parameters_stay() -> None:
    """Only the strides of a weight are others."""
    weight = nn.Conv3d(2, 4, 3).weight
    before = bits(weight).clone()
    state_dict: dict[str, object] = {"weight": weight, "fc.weight": torch.ones(3, 3)}
    (layer,) = convert_state_dict(state_dict)
    assert (layer.name, layer.status) == ("weight", "converted")
    assert state_dict["weight"] is weight
    assert isinstance(weight, nn.Parameter)
    assert weight.requires_grad
    assert weight.stride() == strides_of(weight.shape, "channels_last_3d")
    assert torch.equal(bits(weight), before)


def test_the_model_that_a_state_dict_came_from_is_as_it_was() -> None:
    """Its parameters share their bytes with the state dict, and know nothing of other strides."""
    model = nn.Conv3d(2, 4, 3)
    before, stride = bits(model.weight).clone(), model.weight.stride()
    state_dict = model.state_dict()
    convert_state_dict(state_dict)
    assert model.weight.stride() == stride
    assert torch.equal(bits(model.weight), before)
    model.load_state_dict(state_dict, assign=True)
    assert model.weight.stride() == strides_of(model.weight.shape, "channels_last_3d")
    assert torch.equal(bits(model.weight), before)


def test_an_alias_is_converted_with_the_first() -> None:
    """Both names lead to the same bytes, in the same order, as before."""
    state_dict = builders.aliases()
    layers = convert_state_dict(state_dict)
    first, second = (state_dict[layer.name] for layer in layers)
    assert layers[1].alias_of == layers[0].name
    assert (first.data_ptr(), first.stride()) == (second.data_ptr(), second.stride())
    assert first.stride() == strides_of(first.shape, "channels_last_3d")


def test_neighbours_on_one_storage_keep_their_values() -> None:
    """Each weight leaves the storage for one of its own."""
    state_dict = builders.neighbours()
    before = {name: bits(tensor).clone() for name, tensor in state_dict.items()}
    assert {layer.status for layer in convert_state_dict(state_dict)} == {"converted"}
    for name, values in before.items():
        assert torch.equal(bits(state_dict[name]), values)


def test_what_no_file_could_keep_is_left_alone() -> None:
    """A sparse tensor has no strides, and one on the meta device no data."""
    state_dict = {
        **builders.one_convolution(),
        "sparse": torch.zeros(1, 1, 1, 1, 2).to_sparse(),
        "meta": torch.empty(1, 1, 1, 1, 2, device="meta"),
    }
    assert [layer.status for layer in convert_state_dict(state_dict)] == ["converted"]


def test_a_conversion_can_be_undone() -> None:
    """Back to contiguous, with the values of before."""
    state_dict = builders.one_convolution()
    before = {name: (tensor.stride(), bits(tensor).clone()) for name, tensor in state_dict.items()}
    convert_state_dict(state_dict)
    convert_state_dict(state_dict, "contiguous_format")
    for name, (stride, values) in before.items():
        assert state_dict[name].stride() == stride
        assert torch.equal(bits(state_dict[name]), values)


def test_what_is_refused_changes_nothing() -> None:
    """A pattern that matches nothing, beside one that does, is told before anything is changed."""
    state_dict = builders.one_convolution()
    strides = [tensor.stride() for tensor in state_dict.values()]
    with pytest.raises(OptionError, match="matches none"):
        convert_state_dict(state_dict, select=("*.weight", "nothing"))
    assert [tensor.stride() for tensor in state_dict.values()] == strides
    with pytest.raises(NoConv3dWeightsError):
        convert_state_dict({"fc.weight": torch.ones(2, 2)})
