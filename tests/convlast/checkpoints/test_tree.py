"""The walk over a checkpoint finds each tensor, in order, and always ends."""

from __future__ import annotations

from argparse import Namespace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from convlast.checkpoints.tree import dotted, value_at, walk
from convlast.errors import LimitExceededError, MalformedCheckpointError
from convlast.options import Limits
from tests import builders


def paths_of(root: object) -> list[str]:
    """Return the path of each tensor, with dots."""
    return [dotted(entry.path) for entry in walk(root, Limits())]


def test_every_tensor_in_order() -> None:
    """Tensors are found in order, in dicts, lists, tuples and attributes."""
    one = torch.ones(1)
    one.__dict__["inner"] = torch.ones(2)
    state_dict = builders.one_convolution()
    vars(state_dict)["_metadata"] = {"t": torch.ones(3)}
    root = {"a": [one, (torch.ones(4),)], "b": state_dict, 7: torch.ones(1).untyped_storage()}
    assert paths_of(root) == [
        "a.0", "a.0.inner", "a.1.0", "b.conv.weight", "b.conv.bias", "b._metadata.t", "7",
    ]  # fmt: skip
    assert paths_of(torch.ones(1)) == [""]
    assert paths_of({"a": 1}) == []


def test_each_tensor_stands_at_its_path() -> None:
    """In items and in attributes; below a submodule, whose key is joined, nothing stands."""
    one = torch.ones(1)
    one.__dict__["inner"] = torch.ones(2)
    state_dict = builders.one_convolution()
    vars(state_dict)["_metadata"] = {"t": torch.ones(3)}
    root = [Namespace(a=(one, SimpleNamespace(b=[torch.ones(4)]))), {"b": state_dict}]
    entries = walk(root, Limits())
    assert len(entries) == 6
    assert all(value_at(root, entry.path) is entry.value for entry in entries)
    with pytest.raises(LookupError):
        value_at(torch.nn.Sequential(torch.nn.ReLU()), ("0.weight",))


def test_an_entry_for_each_place() -> None:
    """A list in two places has its tensors in both."""
    inner = [torch.ones(1), 5]
    assert paths_of({"a": inner, "b": [inner, inner]}) == ["a.0", "b.0.0", "b.1.0"]


def test_an_entry_knows_its_owner() -> None:
    """An entry has its owner, by which the bias of a weight is found."""
    root = {"net": builders.one_convolution()}
    assert walk(root, Limits())[0].owner is root["net"]


@pytest.mark.parametrize("kind", [list, dict])
def test_objects_that_contain_themselves(kind: type[Any]) -> None:
    """Objects that contain themselves are refused."""
    root = kind()
    if isinstance(root, list):
        root.append(root)
    else:
        root["me"] = root
    with pytest.raises(MalformedCheckpointError, match="themselves"):
        walk(root, Limits())


def test_many_tensors() -> None:
    """One tensor in many places counts as many."""
    tensor = torch.ones(1)
    assert len(walk([tensor] * 10, Limits(max_tensors=10))) == 10
    with pytest.raises(LimitExceededError, match="max_tensors"):
        walk([tensor] * 11, Limits(max_tensors=10))


def test_expansion_is_counted_once_for_each_tensor() -> None:
    """An expanded tensor in many places is counted once, without its stored bytes."""
    limits = Limits(max_expanded_bytes=396)
    expanded = torch.ones(1).expand(100)  # 400 bytes over 4
    assert len(walk([expanded, expanded.detach(), torch.ones(1000)], limits)) == 3
    for root in ([torch.ones(1).expand(101)], [expanded, torch.ones(1).expand(2)]):
        with pytest.raises(LimitExceededError, match="max_expanded_bytes"):
            walk(root, limits)
