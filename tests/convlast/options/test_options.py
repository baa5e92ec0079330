"""Options are the same on every face, and what is not allowed is refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

import convlast
from convlast.errors import OptionError
from convlast.options import Limits, Options
from tests import builders
from tests.exactness import restrided, strides_by_pytorch

BAD: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown name": ({"colour": "red"}, "colour"),
    "a name of great length": ({"x" * 10_000: 1}, "x" * 64),
    "memory_format": ({"memory_format": "channels_first"}, "memory_format"),
    "an empty select": ({"select": ""}, "select"),
    "all and a pattern": ({"select": "all,conv*"}, "select"),
    "fastest and a pattern": ({"select": ("fastest", "conv*")}, "select"),
    "container": ({"container": "onnx"}, "container"),
    "dtype": ({"dtype": "bfloat16"}, "dtype"),
    "smoke": ({"smoke": "yes"}, "smoke"),
    "on_failure": ({"on_failure": "ignore"}, "on_failure"),
    "min_speedup of zero": ({"min_speedup": "0"}, "min_speedup"),
    "min_speedup that is not a number": ({"min_speedup": "nan"}, "min_speedup"),
    "min_speedup without end": ({"min_speedup": "inf"}, "min_speedup"),
    "input_shape of four": ({"input_shape": "1,8,16,16"}, "input_shape"),
    "input_shape of zero": ({"input_shape": "1,8,0,16,16"}, "input_shape"),
    "input_shape of letters": ({"input_shape": "1,8,a,b,c"}, "input_shape"),
    "input_shape without end": ({"input_shape": "1,8,16,16,99999999"}, "input_shape"),
    "input_shape of many digits": ({"input_shape": "1,8,16,16," + "9" * 9999}, "input_shape"),
    "architecture_options alone": ({"architecture_options": '{"a": 1}'}, "architecture_options"),
    "architecture_options that are no JSON": (
        {"architecture": "a.b", "architecture_options": "{a: 1}"}, "architecture_options",
    ),
    "an input_shape of six": ({"input_shape": "1,2,8,8,8,8"}, "input_shape"),
    "architecture_options that are a list": (
        {"architecture": "a.b", "architecture_options": "[1]"}, "architecture_options",
    ),
    "architecture_options of half a character": (
        {"architecture": "a.b", "architecture_options": r'{"a": "\ud800"}'}, "architecture_options",
    ),
    "architecture_options of no number": (
        {"architecture": "a.b", "architecture_options": '{"a": NaN}'}, "architecture_options",
    ),
    "architecture_options of a large number": (
        {"architecture": "a.b", "architecture_options": '{"a": 1e999}'}, "architecture_options",
    ),
    "architecture_options of many digits": (
        {"architecture": "a.b", "architecture_options": "9" * 9999}, "architecture_options",
    ),
    "architecture_options without end": (
        {"architecture": "a.b", "architecture_options": "[" * 100_000}, "architecture_options",
    ),
}  # fmt: skip


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_option_is_refused_by_name(bad: str) -> None:
    """The message names it and is short; the remedy says what there is."""
    values, option = BAD[bad]
    with pytest.raises(OptionError) as refusal:
        Options.parse(**values)
    assert refusal.value.code == "invalid-option"
    assert refusal.value.option == option
    assert option in refusal.value.message
    assert refusal.value.remedy
    assert "sys." not in str(refusal.value)
    assert len(str(refusal.value)) < 1000


@pytest.mark.parametrize("shape", ["2", "1,2,8,8", "1,2,8,8,8,8"])
def test_an_input_shape_has_five_numbers(shape: str) -> None:
    """Too few and too many are refused in the same words."""
    with pytest.raises(OptionError, match="five numbers are wanted"):
        Options.parse(input_shape=shape)


def test_text_and_values_mean_the_same() -> None:
    """What a form field says is what a program says."""
    text = Options.parse(
        memory_format="channels_last", select="a.*, b.*", input_shape="1,8,16,16,16",
        min_speedup="1.5", architecture="a.b", architecture_options='{"depth": 3}',
    )  # fmt: skip
    values = Options(
        memory_format="channels_last_3d", select=("a.*", "b.*"), input_shape=(1, 8, 16, 16, 16),
        min_speedup=1.5, architecture="a.b", architecture_options={"depth": 3},
    )  # fmt: skip
    assert text == values
    assert Options.model_validate_json(values.model_dump_json()) == values


def test_defaults_are_the_first_of_each_list() -> None:
    """Options without a value are what DESIGN names first."""
    assert Options().model_dump() == {
        "memory_format": "channels_last_3d", "select": ("all",), "container": "auto",
        "dtype": "keep", "smoke": "auto", "architecture": None, "architecture_options": {},
        "entry_point": "auto", "input_shape": None, "smoke_seconds": 60.0, "on_failure": "reject",
        "on_unreadable": "copy", "min_speedup": None, "tensor_digests": False,
    }  # fmt: skip


@pytest.mark.parametrize("model", [Options, Limits])
def test_every_field_is_described(model: type[Options | Limits]) -> None:
    """Help texts and the HTTP schema are made from these."""
    assert all(field.description for field in model.model_fields.values())


def test_float16(tmp_path: Path) -> None:
    """Values are `.half()`, aliases stay, weights are converted, and the optimizer is untouched."""
    root: dict[str, Any] = {
        "model": builders.aliases(),
        "optimizer": builders.with_optimizer()["optimizer"],
    }
    root["model"]["running_var"] = torch.tensor([1e6, 1e-9, float("nan")])
    root["model"]["steps"] = torch.tensor(7)
    source, target = builders.save(root, tmp_path / "source.pt"), tmp_path / "target.pt"
    report = convlast.convert(source, target, Options(dtype="float16", input_shape=(1, 1, 4, 4, 4)))
    loaded = torch.load(target, weights_only=True)
    weight = loaded["model"]["encoder.weight"]
    assert weight.dtype is torch.float16
    assert weight.stride() == strides_by_pytorch(weight)
    assert torch.equal(weight, root["model"]["encoder.weight"].half())
    assert weight.data_ptr() == loaded["model"]["decoder.weight"].data_ptr()
    assert torch.isinf(loaded["model"]["running_var"][0])
    assert loaded["model"]["steps"].dtype is torch.int64
    moment = loaded["optimizer"]["state"][0]["exp_avg"]
    assert moment.dtype is torch.float32
    assert torch.equal(moment, root["optimizer"]["state"][0]["exp_avg"])
    assert report.proof is not None
    assert report.proof.values == "cast"
    overflow = [found for found in report.findings if found.code == "fp16-overflow"]
    assert [found.layer for found in overflow] == ["running_var"]


def negated() -> dict[str, Any]:
    """Return a convolution, and a tensor whose values are negated when they are read."""
    part = torch.complex(builders.numbered(3), builders.numbered(3)).conj().imag
    return {**builders.one_convolution(), "part": part}


def used_elsewhere() -> dict[str, Any]:
    """Return a state dict, one of whose tensors stands beside it too."""
    state_dict = {**builders.one_convolution(), "mean": builders.numbered(3)}
    return {"model": state_dict, "saved_mean": state_dict["mean"]}


@pytest.mark.parametrize(
    ("root", "told"),
    [
        (negated(), "part: values are negated when they are read."),
        (used_elsewhere(), "model.mean: something outside the state dict uses the same bytes."),
    ],
    ids=["negated", "used-elsewhere"],
)
def test_what_cannot_be_cast_is_told(root: dict[str, Any], told: str, tmp_path: Path) -> None:
    """A state dict of two widths is no surprise: the report names the tensors and the cure."""
    source, target = builders.save(root, tmp_path / "source.pt"), tmp_path / "target.pt"
    report = convlast.convert(source, target, Options(dtype="float16", smoke="none"))
    [found] = [finding for finding in report.findings if finding.code == "not-cast"]
    assert found.message.startswith(f"Not cast to fp16: {told}")
    assert report.verdict == "passed_with_findings"


@pytest.mark.parametrize("dtype", ["keep", "float16"])
def test_negated_views(dtype: str, tmp_path: Path) -> None:
    """They are read as their users see them, and stay as they are: a cast would lose the sign."""
    weight = torch._neg_view(builders.numbered(*builders.SHAPE))
    root = {"conv.weight": weight, "part": negated()["part"]}
    source = builders.save(root, tmp_path / "source.pt")
    options = Options.parse(dtype=dtype, input_shape="1,3,4,4,4")
    report = convlast.convert(source, tmp_path / "target.pt", options, device="cpu")
    assert report.smoke is not None
    assert report.smoke.status == "passed"
    assert restrided(source, tmp_path / "target.pt").keys() == {("conv.weight",)}


def test_float16_of_what_is_converted_already(tmp_path: Path) -> None:
    """A cast alone is reason enough to write a file anew."""
    first = builders.save(builders.one_convolution(), tmp_path / "first.pt")
    convlast.convert(first, tmp_path / "second.pt", Options(smoke="none"))
    report = convlast.convert(
        tmp_path / "second.pt", tmp_path / "third.pt", Options(smoke="none", dtype="float16")
    )
    assert report.artifact is not None
    assert not report.artifact.unchanged
    assert convlast.load(tmp_path / "third.pt")["conv.weight"].dtype is torch.float16


@pytest.mark.parametrize("extension", [".safetensors", ".pt"])
@pytest.mark.parametrize(
    ("asked", "statuses", "strides"),
    [
        ({}, ["already", "already"], [1, 1]),
        ({"select": "a.*"}, ["already", "kept"], [1, 1]),
        ({"memory_format": "contiguous_format"}, ["converted", "converted"], [27, 27]),
        (
            {"memory_format": "contiguous_format", "select": "a.*"},
            ["converted", "kept"],
            [27, 1],
        ),
    ],
)
def test_a_layout_in_a_manifest_counts_as_one(
    asked: dict[str, str],
    statuses: list[str],
    strides: list[int],
    extension: str,
    tmp_path: Path,
) -> None:
    """A layer that is not selected keeps it, an undo undoes it, and what has it needs no change."""
    weights = {name: builders.numbered(*builders.SHAPE) for name in ("a.weight", "b.weight")}
    plain = builders.save_safetensors(weights, tmp_path / "plain.safetensors")
    source, target = tmp_path / "source.safetensors", tmp_path / f"target{extension}"
    convlast.convert(plain, source, Options(smoke="none", container="safetensors"))
    container = "safetensors" if extension == ".safetensors" else "torch"
    report = convlast.convert(source, target, Options.parse(container=container, **asked))
    loaded = convlast.load(target)
    assert [layer.status for layer in report.layers] == statuses
    assert [layer.stride_after[1] for layer in report.layers] == strides
    assert [layer.stride_before[1] for layer in report.layers] == [1, 1]
    assert [loaded[name].stride()[1] for name in weights] == strides
    assert all(torch.equal(loaded[name], weights[name]) for name in weights)
    assert report.artifact is not None
    is_same = container == "safetensors" and strides == [1, 1]
    assert report.artifact.unchanged is (source.read_bytes() == target.read_bytes()) is is_same


def test_safetensors(tmp_path: Path) -> None:
    """Its own library reads the same values, in the same order, and the manifest is inside."""
    source = builders.save(dict(builders.a_model().state_dict()), tmp_path / "source.pt")
    target = tmp_path / "target.safetensors"
    convlast.convert(source, target, Options(smoke="none", container="safetensors"))
    before, plain = torch.load(source, weights_only=True), safetensors.torch.load_file(target)
    laid_out = convlast.load(target)
    assert set(plain) == set(before)
    for key, value in before.items():
        assert torch.equal(plain[key], value)
        assert plain[key].is_contiguous()
        expected = strides_by_pytorch(value) if value.dim() == 5 else value.stride()
        assert laid_out[key].stride() == expected
    with safetensors.safe_open(target, framework="pt") as file:
        assert "convlast" in file.metadata()


def test_safetensors_and_back(tmp_path: Path) -> None:
    """Through a safetensors file a torch file gets the layout that was asked for."""
    source = builders.save(dict(builders.one_convolution()), tmp_path / "source.pt")
    flat, back = tmp_path / "flat.safetensors", tmp_path / "back.pt"
    convlast.convert(source, flat, Options(smoke="none", container="safetensors"))
    convlast.convert(flat, back, Options(smoke="none"))
    assert restrided(source, back).keys() == {("conv.weight",)}


@pytest.mark.parametrize(
    ("root", "reason"),
    [
        ({"model": dict(builders.one_convolution())}, "flat"),
        (dict(builders.aliases()), "shares its storage"),
        ({**builders.one_convolution(), "epoch": 3}, "more in it"),
        ({**builders.one_convolution(), "meta": torch.empty(2, device="meta")}, "meta"),
        ({"conv.weight": builders.numbered(*builders.SHAPE), 7: torch.ones(1)}, "flat"),
        ([builders.one_convolution()], "flat"),
    ],
)
def test_what_safetensors_cannot_hold(root: object, reason: str, tmp_path: Path) -> None:
    """Wrappers, aliases and numbers are refused, with the container that can."""
    source = builders.save(root, tmp_path / "source.pt")
    with pytest.raises(OptionError, match=reason) as refusal:
        convlast.convert(source, tmp_path / "t", Options(smoke="none", container="safetensors"))
    assert "container=torch" in refusal.value.remedy
    assert list(tmp_path.iterdir()) == [source]


def test_select(tmp_path: Path) -> None:
    """Only what a pattern names is converted; the rest is `kept` as it is."""
    source = builders.save(builders.a_model().state_dict(), tmp_path / "source.pt")
    options = Options.parse(smoke="none", select="0.*,3.weight")
    report = convlast.convert(source, tmp_path / "target.pt", options)
    assert restrided(source, tmp_path / "target.pt").keys() == {("0.weight",), ("3.weight",)}
    assert [layer.status for layer in report.layers] == ["converted", "kept", "converted", "kept"]
