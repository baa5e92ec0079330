"""A converted checkpoint comes into memory, and into a model, with its layout."""

from __future__ import annotations

import json
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn

import convlast
from convlast.errors import ArchitectureMismatchError
from convlast.options import Options
from tests import builders
from tests.exactness import strides_by_pytorch

QUIET = Options(smoke="none")
AS_SAFETENSORS = Options(smoke="none", container="safetensors")


def converted(root: object, folder: Path, options: Options = QUIET) -> Path:
    """Return a converted checkpoint of these objects."""
    source = builders.save(root, folder / "source.pt")
    convlast.convert(source, folder / "target", options)
    return folder / "target"


@pytest.mark.parametrize("options", [QUIET, AS_SAFETENSORS])
def test_a_model_gets_values_and_layout(options: Options, tmp_path: Path) -> None:
    """Every convolution has the strides of PyTorch's function, and the model its outputs."""
    model = builders.a_model().eval()
    path = converted(model.state_dict(), tmp_path, options)
    other = builders.a_model().eval()
    assert id(convlast.load_into(other, path)) == id(other)
    for mine, theirs in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(mine, theirs)
        if mine.dim() == 5:
            assert theirs.stride() == strides_by_pytorch(mine)
    x = torch.ones(2, 1, 6, 6, 6)
    assert torch.allclose(model[:5](x), other[:5](x), atol=1e-6)


def test_a_plain_load_state_dict_loses_the_layout(tmp_path: Path) -> None:
    """The pitfall that the report warns of is real: this is why there is a `load_into`."""
    path = converted(nn.Conv3d(3, 4, 3).state_dict(), tmp_path)
    module = nn.Conv3d(3, 4, 3)
    module.load_state_dict(torch.load(path, weights_only=True))
    assert module.weight.is_contiguous()


def test_the_state_dict_is_found_in_its_wrapper(tmp_path: Path) -> None:
    """The one with most convolutions is taken."""
    model = builders.a_model()
    root = {"small": nn.Conv3d(2, 2, 3).state_dict(), "nets": [{"big": model.state_dict()}]}
    other = convlast.load_into(builders.a_model(), converted(root, tmp_path))
    assert torch.equal(next(other.parameters()), next(model.parameters()))


def test_a_module_on_the_meta_device(tmp_path: Path) -> None:
    """A model that was built without memory gets its tensors from the file."""
    model = builders.a_model()
    with torch.device("meta"):
        other = builders.a_model()
    convlast.load_into(other, converted(model.state_dict(), tmp_path))
    assert not any(tensor.is_meta for tensor in other.state_dict().values())
    for key, value in model.state_dict().items():
        assert torch.equal(other.state_dict()[key], value)


def test_requires_grad_is_the_module_s(tmp_path: Path) -> None:
    """What was frozen stays frozen, and what was not can be trained."""
    path = converted(nn.Conv3d(3, 4, 3).state_dict(), tmp_path)
    module = nn.Conv3d(3, 4, 3)
    module.weight.requires_grad_(False)
    convlast.load_into(module, path)
    assert isinstance(module.weight, nn.Parameter)
    assert (module.weight.requires_grad, module.bias is not None and module.bias.requires_grad) == (
        False,
        True,
    )


def tied_model() -> nn.Sequential:
    """Two convolutions with one weight."""
    first, second = nn.Conv3d(3, 4, 3), nn.Conv3d(3, 4, 3)
    second.weight = first.weight
    return nn.Sequential(first, second)


def test_tied_weights_stay_on_one_storage(tmp_path: Path) -> None:
    """A weight under two names is not doubled."""
    path = converted(tied_model().state_dict(), tmp_path)
    first, second = convlast.load_into(tied_model(), path).children()
    assert first.weight is second.weight


class Versioned(nn.Conv3d):
    """A convolution whose state dict has a version, as many of PyTorch's own modules have."""

    _version = 3
    seen: Any = None

    def _load_from_state_dict(
        self, state_dict: Any, prefix: str, local_metadata: Any, *rest: Any
    ) -> None:
        self.seen = local_metadata.get("version")
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)


def test_the_version_of_a_module_reaches_its_loader(tmp_path: Path) -> None:
    """`_metadata`, by which modules read older state dicts, is passed on."""
    path = converted({"net": Versioned(3, 4, 3).state_dict()}, tmp_path)
    module = Versioned(3, 4, 3)
    convlast.load_into(module, path)
    assert module.seen == 3


def test_a_model_that_does_not_fit(tmp_path: Path) -> None:
    """Another shape is refused, with what to do; the model is as it was."""
    path = converted(builders.one_convolution(), tmp_path)
    module = nn.Conv3d(2, 4, 3)
    before = module.weight, module.bias
    with pytest.raises(ArchitectureMismatchError, match=r"conv\.weight: \[4, 3.*\[4, 2") as refusal:
        convlast.load_into(module, path)
    assert refusal.value.code == "architecture-mismatch"
    assert refusal.value.remedy
    assert module.weight is before[0]
    assert module.bias is before[1]


def test_load_is_a_plain_load(tmp_path: Path) -> None:
    """For a torch file it gives what `torch.load` gives, whatever the file's name."""
    path = converted(builders.nested_wrappers(), tmp_path)
    named = path.rename(tmp_path / "odd.safetensors")
    root = convlast.load(named)
    assert list(root) == ["epoch", "metrics", "models"]
    assert root["models"][0]["net"]["conv.weight"].stride() == (81, 1, 27, 9, 3)


def test_load_applies_the_layout_of_a_safetensors_file(tmp_path: Path) -> None:
    """Its bytes are contiguous for everyone else."""
    path = converted(builders.one_convolution(), tmp_path, AS_SAFETENSORS)
    plain = safetensors.torch.load_file(path)
    loaded = convlast.load(path)
    assert plain["conv.weight"].is_contiguous()
    assert loaded["conv.weight"].stride() == (81, 1, 27, 9, 3)
    assert list(loaded) == ["conv.weight", "conv.bias"]
    for key, value in builders.one_convolution().items():
        assert torch.equal(plain[key], value)
        assert torch.equal(loaded[key], value)


@pytest.mark.parametrize(
    "stride",
    [
        [0, 0, 0, 0, 0], [1 << 50, 1, 27, 9, 3], [81, 1, 27], [-81, 27, 9, 3, 1],
        [1 << 70, 27, 9, 3, 1],
    ],
)  # fmt: skip
def test_a_manifest_that_lies_is_not_followed(stride: list[int], tmp_path: Path) -> None:
    """Strides that are no order of the elements are ignored, and the values are right."""
    weight = builders.numbered(*builders.SHAPE)
    layer = {
        "name": "w.weight", "key": "w.weight", "shape": list(weight.shape),
        "stride_before": stride, "stride_after": stride,
    }  # fmt: skip
    note = json.dumps({"memory_format": "channels_last_3d", "layers": [layer]})
    path = builders.save_safetensors(
        {"w.weight": weight}, tmp_path / "a.safetensors", convlast=note
    )
    loaded = convlast.load(path)
    assert loaded["w.weight"].stride() == weight.stride()
    assert torch.equal(loaded["w.weight"], weight)


@pytest.mark.parametrize("extent", [1, 2])
@pytest.mark.parametrize("step", [1 << 62, 1 << 63, 1 << 80])
def test_an_undo_by_a_manifest_that_lies(extent: int, step: int, tmp_path: Path) -> None:
    """A stride that no tensor can have, on an axis of extent 1 too, is not given back."""
    weight = torch.ones(extent, 2, 2, 2, 2).to(memory_format=torch.channels_last_3d)
    layer = {
        "name": "w.weight", "key": "w.weight", "shape": list(weight.shape),
        "stride_before": [step, 8, 4, 2, 1], "stride_after": list(weight.stride()),
    }  # fmt: skip
    note = json.dumps({"memory_format": "channels_last_3d", "layers": [layer]})
    source = builders.save({"w.weight": weight}, tmp_path / "source.pt")
    import zipfile

    with zipfile.ZipFile(source, "a") as archive:
        archive.writestr("source/extra/convlast.json", note)
    undo = Options(smoke="none", memory_format="contiguous_format")
    convlast.convert(source, tmp_path / "target.pt", undo)
    loaded = torch.load(tmp_path / "target.pt", weights_only=True)
    assert loaded["w.weight"].stride() == (16, 8, 4, 2, 1)


def test_the_caller_s_state_dict_order_is_kept(tmp_path: Path) -> None:
    """An OrderedDict with its metadata comes back as one."""
    path = converted(builders.a_model().state_dict(), tmp_path)
    root = convlast.load(path)
    assert isinstance(root, OrderedDict)
    assert "_metadata" in vars(root)
