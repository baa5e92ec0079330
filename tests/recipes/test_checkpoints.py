"""What trainers really write, converted: only the strides of convolution weights change."""

from __future__ import annotations

import copy
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import convlast
from convlast.options import Options
from tests.exactness import restrided
from tests.recipes import frameworks

pytestmark = [
    pytest.mark.recipes,
    pytest.mark.filterwarnings("ignore"),  # the frameworks warn of this and that
]

QUIET = Options(smoke="none")


@pytest.mark.parametrize("build", [frameworks.plain_conv_unet, frameworks.residual_encoder_unet])
def test_an_nnunet_checkpoint(build: Callable[[], nn.Module], tmp_path: Path) -> None:
    """Convolutions are registered twice, the decoder owns the encoder, and no byte is doubled."""
    model = build()
    frameworks.save_with_nnunet(model, tmp_path)
    source, target = tmp_path / "checkpoint_final.pth", tmp_path / "out.pth"
    report = convlast.convert(source, target, QUIET)
    before = torch.load(source, weights_only=False)
    after = torch.load(target, weights_only=False)

    assert (report.verdict, report.input.wrapper) == ("passed", "network_weights")
    assert target.stat().st_size - source.stat().st_size < note_in(target) + 1024
    weights = {key: value for key, value in after["network_weights"].items() if value.dim() == 5}
    for key, value in weights.items():
        assert torch.equal(value, before["network_weights"][key])
    assert aliases_in(after) == aliases_in(before)
    assert len({value.data_ptr() for value in weights.values()}) < len(weights) / 2
    assert len([layer for layer in report.layers if layer.alias_of is None]) == len(
        {value.data_ptr() for value in weights.values()}
    )
    assert_same_but_weights(before, after)


def test_a_checkpoint_of_lightning(tmp_path: Path) -> None:
    """Everything the Trainer saved is there, and it resumes from the artifact, layout kept."""
    torch.manual_seed(0)
    frameworks.save_with_lightning(frameworks.segmenter(), tmp_path)
    source, target = tmp_path / "last.ckpt", tmp_path / "converted.ckpt"
    report = convlast.convert(source, target, QUIET)

    assert report.input.wrapper == "state_dict"
    assert restrided(source, target).keys() == {
        ("state_dict", "network.0.weight"),
        ("state_dict", "network.2.weight"),
    }
    assert torch.load(target, weights_only=True)["hyper_parameters"] == {"features": 8}
    model: Any = convlast.apply_layout(frameworks.segmenter(), target)
    training = frameworks.trainer(tmp_path, max_epochs=2)
    training.fit(model, frameworks.samples(), ckpt_path=target)
    assert training.current_epoch == 2
    assert model.network[2].weight.stride() == (216, 1, 72, 24, 8)


def test_a_checkpoint_of_monai(tmp_path: Path) -> None:
    """What `CheckpointSaver` writes is converted, and `CheckpointLoader` keeps a layout."""
    from ignite.engine import Engine
    from monai.handlers import CheckpointLoader

    torch.manual_seed(0)
    original = frameworks.monai_unet()
    frameworks.save_with_monai(original, tmp_path)
    report = convlast.convert(tmp_path / "unet.pt", tmp_path / "converted.pt", QUIET)
    assert report.input.wrapper == "net"
    assert {path[0] for path in restrided(tmp_path / "unet.pt", tmp_path / "converted.pt")} == {
        "net"
    }

    model = convlast.apply_layout(frameworks.monai_unet(), tmp_path / "converted.pt")
    engine = Engine(lambda _engine, _batch: None)
    CheckpointLoader(str(tmp_path / "converted.pt"), {"net": model}).attach(engine)
    engine.run([0], max_epochs=1)
    for mine, theirs in zip(original.parameters(), model.parameters(), strict=True):
        assert torch.equal(mine, theirs)
        assert mine.dim() != 5 or mine.shape[1] == 1 or theirs.stride()[1] == 1


@pytest.mark.parametrize("name", ["diffusers", "transformers"])
def test_a_sharded_repository(name: str, tmp_path: Path) -> None:
    """Its index, its shards and its configuration stay what `from_pretrained` expects."""
    from diffusers import AutoencoderKLWan
    from transformers import VideoMAEForVideoClassification

    torch.manual_seed(0)
    build, kind, size = {
        "diffusers": (frameworks.wan_vae, AutoencoderKLWan, "200KB"),
        "transformers": (frameworks.videomae, VideoMAEForVideoClassification, "25KB"),
    }[name]
    original: Any = build()
    original.save_pretrained(tmp_path / "in", max_shard_size=size)
    assert len(list((tmp_path / "in").glob("*.safetensors"))) > 1
    report = convlast.convert(tmp_path / "in", tmp_path / "out", QUIET)
    assert report.verdict == "passed"

    model = convlast.apply_layout(kind.from_pretrained(tmp_path / "out"), tmp_path / "out")
    assert_laid_out(model, original)


def test_the_base_model_of_a_repository(tmp_path: Path) -> None:
    """Its keys lack the prefix that those in the file have; the layout finds them."""
    from transformers import VideoMAEModel

    original: Any = frameworks.videomae()
    original.save_pretrained(tmp_path / "in")
    convlast.convert(tmp_path / "in", tmp_path / "out", QUIET)
    model = VideoMAEModel.from_pretrained(tmp_path / "out")
    assert_laid_out(convlast.apply_layout(model, tmp_path / "out"), original.videomae)


def assert_laid_out(model: nn.Module, original: nn.Module) -> None:
    """Check that values are the original's, and strides those of PyTorch's function for it."""
    expected = copy.deepcopy(original)
    nn.utils.convert_conv3d_weight_memory_format(expected, torch.channels_last_3d)
    parameters = dict(model.named_parameters())
    for key, value in expected.named_parameters():
        assert torch.equal(parameters[key], value), key
        assert parameters[key].stride() == value.stride(), key
    assert any(value.dim() == 5 for value in parameters.values())


def note_in(path: Path) -> int:
    """Return the bytes of the note that a conversion left."""
    with zipfile.ZipFile(path) as archive:
        (entry,) = [e for e in archive.infolist() if e.filename.endswith("extra/convlast.json")]
    return entry.file_size


def aliases_in(checkpoint: dict[str, Any]) -> set[frozenset[str]]:
    """Return the groups of keys that share their bytes."""
    groups: dict[int, set[str]] = {}
    for key, value in checkpoint["network_weights"].items():
        groups.setdefault(value.data_ptr(), set()).add(key)
    return {frozenset(group) for group in groups.values()}


def assert_same_but_weights(before: dict[str, Any], after: dict[str, Any]) -> None:
    """Check that all beside the weights is the same: numbers of NumPy, moments, arguments."""
    states = [checkpoint.pop("optimizer_state") for checkpoint in (before, after)]
    for mine, theirs in zip(*(state["state"].values() for state in states), strict=True):
        assert torch.equal(mine["momentum_buffer"], theirs["momentum_buffer"])
        assert mine["momentum_buffer"].stride() == theirs["momentum_buffer"].stride()
    assert repr({**before, "network_weights": 0}) == repr({**after, "network_weights": 0})
