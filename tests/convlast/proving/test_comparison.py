"""Each kind of difference between two checkpoints is found, and nothing else is called one."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import convlast
from convlast.checkpoints.checkpoint import Checkpoint
from convlast.checkpoints.tree import walk
from convlast.containers import open_checkpoint
from convlast.options import Limits
from convlast.proving.comparison import Comparison, Walked, compare, proof_of
from tests import builders
from tests.builders import SHAPE, numbered

Change = Callable[[dict[str, Any]], object]


def original() -> dict[str, Any]:
    """Return objects with something of each kind in them."""
    state_dict = OrderedDict(builders.aliases())
    vars(state_dict)["_metadata"] = OrderedDict({"": {"version": 1}})
    return {
        "state_dict": state_dict,
        "parameter": nn.Parameter(numbered(3)),
        "nan": torch.tensor([float("nan"), 0.0]),
        "complex": torch.complex(numbered(2), numbered(2)),
        "beside": [1, "two", 3.0, float("nan"), complex(0, float("nan")), (4,), {5: 6}, {7}],
        "halves": [*torch.zeros(2, 4)],
        "twice": [frozen := nn.Parameter(numbered(3), requires_grad=False), frozen],
        "empty": torch.empty(0),
    }


def compared(change: Change, folder: Path, tag: str = "cpu") -> Comparison:
    """Return what is found between the original and a changed copy of it."""
    changed = original()
    change(changed)
    before = open_checkpoint(builders.save(original(), folder / "before.pt"))
    after = open_checkpoint(builders.save_from(tag, changed, folder / "after.pt"))
    return compare(walked(before), walked(after))


def walked(checkpoint: Checkpoint) -> Walked:
    """Return a checkpoint with its tensors."""
    return Walked(checkpoint, walk(checkpoint.root, Limits()))


def put(key: str, value: object) -> Change:
    """Put a value in the place of another."""
    return lambda root: root.update({key: value})


def put_weight(key: str, value: object) -> Change:
    """Put a value in the place of a weight."""
    return lambda root: root["state_dict"].update({key: value})


def one_value(root: dict[str, Any]) -> None:
    """Change one element of a weight; its alias with it."""
    root["state_dict"]["encoder.weight"][1, 2, 0, 1, 1] += 1


def order(root: dict[str, Any]) -> None:
    """Put the first key last."""
    root["state_dict"].move_to_end("encoder.weight")


def metadata(root: dict[str, Any]) -> None:
    """Change the version that a state dict carries."""
    vars(root["state_dict"])["_metadata"][""]["version"] = 2


def attribute(root: dict[str, Any]) -> None:
    """Give a tensor a Python attribute."""
    vars(root["nan"])["mark"] = 1


def overlapping(root: dict[str, Any]) -> None:
    """Let two tensors of equal values share bytes that they did not share, on the same storage."""
    first, _ = root["halves"]
    root["halves"][1] = first.as_strided((4,), (1,), 2)


def two_objects(root: dict[str, Any]) -> None:
    """Put a second Parameter on the same bytes in the place of one that stood there twice."""
    root["twice"][1] = nn.Parameter(root["twice"][0].detach(), requires_grad=False)


CHANGES: dict[str, tuple[Change, str, str]] = {
    "a value": (one_value, "values", "encoder.weight"),
    "a sign of zero": (put("nan", torch.tensor([float("nan"), -0.0])), "values", "nan"),
    "an alias": (put_weight("decoder.weight", numbered(*SHAPE)), "structure", "aliases"),
    "an overlap of equal values": (overlapping, "structure", "aliases"),
    "two objects for one": (two_objects, "structure", "aliases"),
    "a type of key": (lambda root: root["beside"].__setitem__(6, {5.0: 6}), "structure", "keys"),
    "a type in a set": (lambda root: root["beside"].__setitem__(7, {7.0}), "structure", "value"),
    "the order of keys": (order, "structure", "order"),
    "a missing key": (lambda root: root.pop("nan"), "structure", "keys"),
    "another key": (put("more", 1), "structure", "keys"),
    "a dtype": (put("nan", torch.zeros(2, dtype=torch.float64)), "structure", "dtype"),
    "a shape": (put("nan", torch.zeros(1, 2)), "structure", "shape"),
    "requires_grad": (
        put("parameter", nn.Parameter(numbered(3), requires_grad=False)),
        "structure", "requires_grad",
    ),
    "a Parameter": (put("parameter", numbered(3).requires_grad_()), "structure", "Parameter"),
    "conjugation": (
        put("complex", torch.complex(numbered(2), -numbered(2)).conj()),
        "structure", "conjugation",
    ),
    "a number": (put("beside", [2, "two", 3.0]), "structure", "keys"),
    "a leaf": (lambda root: root["beside"].__setitem__(1, "zwei"), "structure", "value"),
    "a type of leaf": (lambda root: root["beside"].__setitem__(0, True), "structure", "bool"),
    "a list for a tuple": (lambda root: root["beside"].__setitem__(5, [4]), "structure", "list"),
    "the metadata": (metadata, "structure", "version"),
    "an attribute": (attribute, "structure", "nan.__dict__"),
    "a dict for an OrderedDict": (
        lambda root: root.update(state_dict=dict(root["state_dict"])), "structure", "OrderedDict",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", CHANGES)
def test_a_difference_is_found(kind: str, tmp_path: Path) -> None:
    """It is told by its aspect, and the text says where or what."""
    change, aspect, word = CHANGES[kind]
    comparison = compared(change, tmp_path)
    assert any(found.aspect == aspect for found in comparison.differences)
    assert any(word in f"{found.path} {found.message}" for found in comparison.differences)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("abcde", "5 missing: weight0, weight1, weight2 and 2 more; 5 added: a, b, c and 2 more."),
        (["weight1", "weight0", "weight2", "weight3", "weight4"], "changed, from weight0 on."),
        (["weight0", "weight1", "weight2", "weight3"], "in it, 1 missing: weight4."),
    ],
)
def test_other_tensors_are_named(keys: list[str], words: str, tmp_path: Path) -> None:
    """The first of them, and how many there are."""
    names = [f"weight{index}" for index in range(5)]
    one = builders.save({name: torch.ones(1) for name in names}, tmp_path / "one.pt")
    other = builders.save({name: torch.ones(1) for name in keys}, tmp_path / "other.pt")
    comparison = compare(walked(open_checkpoint(one)), walked(open_checkpoint(other)))
    assert words in comparison.differences[-1].message


def test_nothing_is_found_where_nothing_differs(tmp_path: Path) -> None:
    """NaN equals NaN, in tensors and beside them, as floats and as complex numbers."""
    comparison = compared(lambda _: None, tmp_path)
    assert comparison.differences == []
    assert comparison.restrided == []
    proof = proof_of(comparison)
    assert (proof.values, proof.strides, proof.structure) == ("identical", "exact", "identical")


def test_a_device_tag_is_compared(tmp_path: Path) -> None:
    """A file that moved from one device to another is not the same file."""
    comparison = compared(lambda _: None, tmp_path, tag="cuda:0")
    assert "device tag" in comparison.differences[0].message


def test_a_device_tag_of_an_empty_tensor_is_compared(tmp_path: Path) -> None:
    """It has no bytes, and stands on a device all the same."""
    only = {"empty": torch.empty(0)}
    before = open_checkpoint(builders.save(only, tmp_path / "before.pt"))
    after = open_checkpoint(builders.save_from("cuda:0", only, tmp_path / "after.pt"))
    assert "device tag" in compare(walked(before), walked(after)).differences[0].message


def test_strides_are_told_and_are_no_difference(tmp_path: Path) -> None:
    """Other strides alone are what a conversion is for."""
    weight = numbered(*SHAPE).to(memory_format=torch.channels_last_3d)

    def restride(root: dict[str, Any]) -> None:
        root["state_dict"].update({"encoder.weight": weight, "decoder.weight": weight.detach()})

    comparison = compared(restride, tmp_path)
    assert comparison.differences == []
    assert comparison.restrided == [
        ("state_dict", "encoder.weight"),
        ("state_dict", "decoder.weight"),
    ]


def test_values_are_compared_through_other_strides(tmp_path: Path) -> None:
    """Two elements that changed places are found, though the bytes are a permutation."""
    weight = numbered(*SHAPE)
    weight[0, 0, 0, 0, 0], weight[3, 2, 2, 2, 2] = 323, 0
    weight = weight.to(memory_format=torch.channels_last_3d)

    def swap(root: dict[str, Any]) -> None:
        root["state_dict"].update({"encoder.weight": weight, "decoder.weight": weight.detach()})

    assert compared(swap, tmp_path).has("values")


def test_verify_fails_for_strides_that_no_conversion_gives(tmp_path: Path) -> None:
    """A weight in another order, or another tensor in channels-last, is wrong."""
    weight, other = numbered(*SHAPE), numbered(2, 3, 2, 2, 2)
    before = builders.save({"c.weight": weight, "pos": other}, tmp_path / "before.pt")
    odd = weight.permute(1, 0, 2, 3, 4).contiguous().permute(1, 0, 2, 3, 4)
    for changed in (
        {"c.weight": odd, "pos": other},
        {"c.weight": weight, "pos": other.to(memory_format=torch.channels_last_3d)},
    ):
        report = convlast.verify(before, builders.save(changed, tmp_path / "after.pt"))
        assert report.verdict == "failed"
        assert report.proof is not None
        assert report.proof.strides == "wrong"


def test_verify_across_containers(tmp_path: Path) -> None:
    """A torch file and a safetensors file of the same tensors are the same."""
    before = builders.save(dict(builders.one_convolution()), tmp_path / "before.pt")
    options = convlast.Options(smoke="none", container="safetensors")
    convlast.convert(before, tmp_path / "after.safetensors", options)
    report = convlast.verify(before, tmp_path / "after.safetensors")
    assert report.verdict == "passed"
    assert [layer.status for layer in report.layers] == ["converted"]
