from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from convlast.architectures.configs import (
    SpecsBeside,
    discover,
    spec_of_bundle,
    spec_of_config,
    spec_of_plans,
)
from convlast.errors import ArchitectureNotAllowedError

UNET = {"_target_": "UNet", "spatial_dims": 3, "channels": [8, 16]}
WAN = {"_class_name": "AutoencoderKLWan", "_diffusers_version": "0.42", "z_dim": 16}

EVALUATED: dict[str, dict[str, Any]] = {
    "an expression": {"network_def": {**UNET, "act": "$__import__('os').system('true')"}},
    "an expression in a list": {"network_def": {**UNET, "channels": ["$1"]}},
    "an expression by reference": {"a": "$1", "network_def": {**UNET, "act": "@a"}},
    "an object by reference": {"a": {"_target_": "b"}, "network_def": {**UNET, "act": "@a"}},
    "an object": {"network_def": {**UNET, "act": {"_target_": "os.system", "command": "true"}}},
    "a macro": {"network_def": {**UNET, "act": "%other.json::a"}},
    "a reference to nothing": {"network_def": {**UNET, "act": "@a::b::3"}},
    "a circle": {"a": "@b", "b": "@a", "network_def": {**UNET, "act": "@a"}},
    "a great many": {
        "a": ["@b"] * 99, "b": ["@c"] * 99, "c": ["@d"] * 99, "d": [1] * 99,
        "network_def": {**UNET, "act": "@a"},
    },
    "a target that is an expression": {"network_def": {"_target_": "$os.system"}},
    "a target that is a list": {"network_def": {"_target_": ["os.system"]}},
    "what is required first": {"network_def": {**UNET, "_requires_": "$import os"}},
    "what is switched off": {"network_def": {**UNET, "_disabled_": "$False"}},
}  # fmt: skip


@pytest.mark.parametrize("bundle", EVALUATED.values(), ids=EVALUATED.keys())
def test_nothing_in_a_bundle_is_evaluated(bundle: dict[str, Any]) -> None:
    """Python code, objects and references to them in a bundle are refused, not run."""
    with pytest.raises(ArchitectureNotAllowedError, match="would have to be evaluated"):
        spec_of_bundle(bundle)


def test_references_to_plain_values_are_followed() -> None:
    """References to plain values in a bundle are followed."""
    bundle = {
        "sizes": {"all": [[8, 16], [1]]},
        "dims": 3,
        "same": "@dims",
        "network_def": {
            "_target_": "monai.networks.nets.UNet",
            "_desc_": "the network",
            "spatial_dims": "@same",
            "channels": "@sizes::all::0",
            "strides": ["@sizes#all#1#0"],
        },
    }
    spec = spec_of_bundle(bundle)

    assert spec is not None
    assert spec.name == "monai.networks.nets.UNet"
    assert spec.options == {"spatial_dims": 3, "channels": [8, 16], "strides": [1]}


def test_a_config_of_transformers_loses_what_brings_code() -> None:
    """Names of remote code, of kernels to fetch and of quantizers are dropped."""
    spec = spec_of_config(
        {
            "architectures": ["VivitModel"],
            "model_type": "vivit",
            "auto_map": {"AutoModel": "evil.Model"},
            "_attn_implementation": "evil/kernels",
            "attn_implementation": "evil/kernels",
            "quantization_config": {"quant_method": "evil"},
            "dtype": "float16",
            "hidden_size": 32,
        }
    )
    assert spec is not None
    assert set(spec.options) == {"architectures", "model_type", "hidden_size"}


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"_class_name": "../evil"},
        {"_class_name": ["AutoencoderKLWan"]},
        {"_class_name": "_Private"},
        {"architectures": [], "model_type": "vivit"},
        {"architectures": ["VivitModel"]},
        {"architectures": "VivitModel", "model_type": "vivit"},
        {"architectures": ["os.system"], "model_type": "vivit"},
    ],
)
def test_another_config_says_nothing(config: dict[str, Any]) -> None:
    """A config.json of another kind does not describe a model."""
    assert spec_of_config(config) is None


def write(path: Path, content: object) -> None:
    """Write JSON to a path, and make its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("config", "content", "checkpoint", "origin"),
    [
        ("config.json", WAN, "model.safetensors", "config.json"),
        ("vae/config.json", WAN, "vae/diffusion_pytorch_model.safetensors", "config.json"),
        ("configs/inference.json", {"network_def": UNET}, "models/model.pt", "network_def"),
        ("configs/train.json", {"network_def": UNET}, "models/model.pt", "network_def"),
    ],
)
def test_a_folder_says_what_its_model_is(
    tmp_path: Path, config: str, content: object, checkpoint: str, origin: str
) -> None:
    """A model's description is found beside the checkpoint, or where a bundle has it."""
    write(tmp_path / config, content)
    spec = discover(tmp_path, tmp_path / checkpoint)
    assert spec is not None
    assert spec.origin == origin


def test_nothing_outside_the_folder_is_read(tmp_path: Path) -> None:
    """No file above the folder, or behind a link in it, is read."""
    write(tmp_path / "config.json", WAN)
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").symlink_to(tmp_path / "config.json")
    (folder / "configs").symlink_to(tmp_path / "elsewhere")
    write(tmp_path / "elsewhere" / "inference.json", {"network_def": UNET})

    assert discover(folder, folder / "model.pt") is None
    assert discover(folder, tmp_path / "model.pt") is None


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, "\xff", "3"])
def test_a_file_that_cannot_be_read_says_nothing(tmp_path: Path, text: str) -> None:
    """A config.json that cannot be read is ignored."""
    (tmp_path / "config.json").write_bytes(text.encode("latin-1"))
    assert discover(tmp_path, tmp_path / "model.pt") is None


def plans(labels: dict[str, Any], **configuration: Any) -> dict[str, Any]:
    """Return a checkpoint of nnU-Net without its weights."""
    architecture = {"network_class_name": "a.b.Net", "arch_kwargs": {"n_stages": 3}}
    return {
        "init_args": {
            "configuration": "small",
            "plans": {
                "configurations": {
                    "large": {"architecture": architecture},
                    "small": configuration or {"inherits_from": "large"},
                }
            },
            "dataset_json": {"channel_names": {"0": "CT", "1": "PET"}, "labels": labels},
        }
    }


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ({"background": 0, "liver": 1, "tumour": 2}, 3),
        ({"background": 0, "whole": [1, 2], "core": 2}, 2),
        ({"background": 0, "liver": 1, "ignore": 2}, 2),
    ],
)
def test_plans_of_nnunet_say_what_their_model_is(labels: dict[str, Any], classes: int) -> None:
    """nnU-Net's plans give the network, and its data set the numbers of channels and classes."""
    spec = spec_of_plans(plans(labels))
    assert spec is not None
    assert spec.name == "a.b.Net"
    assert spec.options == {"n_stages": 3, "input_channels": 2, "num_classes": classes}


@pytest.mark.parametrize(
    "root", [None, 3, [], {}, {"init_args": []}, plans({}), plans({"a": 1}, inherits_from="small")]
)
def test_another_checkpoint_has_no_plans(root: object) -> None:
    """A checkpoint without valid plans has none, whatever is in their place."""
    assert spec_of_plans(root) is None


def test_a_bundle_that_wants_code_is_told_where_a_model_is_wanted(tmp_path: Path) -> None:
    """A bundle with code does not make its folder refused: the description says what is wrong."""
    write(tmp_path / "configs/inference.json", EVALUATED["an expression"])
    spec = discover(tmp_path, tmp_path / "models/model.pt")
    assert spec is not None
    assert isinstance(spec.obstacle, ArchitectureNotAllowedError)


def test_a_large_file_is_not_parsed() -> None:
    """A large file is not parsed, wherever it comes from."""
    text = json.dumps({**WAN, "note": "x" * (5 << 20)}).encode()
    assert SpecsBeside(lambda _: text).of("model.pt") is None
