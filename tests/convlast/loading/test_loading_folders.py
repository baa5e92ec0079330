"""Converted folders and shards come into a model with their layout, by load_into and by others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_model
from torch import nn

import convlast
from convlast.errors import (
    ArchitectureMismatchError,
    MalformedCheckpointError,
    NotACheckpointError,
)
from convlast.options import Options
from tests import builders
from tests.convlast.folders import building
from tests.exactness import strides_by_pytorch

QUIET = Options(smoke="none")


@pytest.fixture(params=[".safetensors", ".bin"])
def converted(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return a converted folder of an index and two shards."""
    building.sharded(tmp_path / "in", extension=request.param)
    convlast.convert(tmp_path / "in", tmp_path / "out", QUIET)
    return tmp_path / "out"


def check(model: nn.Module, weights: dict[str, torch.Tensor]) -> None:
    """Check values, and that every convolution's weight has PyTorch's strides."""
    for name, value in weights.items():
        mine = model.get_parameter(name)
        assert torch.equal(mine, value)
        assert mine.dim() != 5 or mine.stride() == strides_by_pytorch(value)


@pytest.mark.parametrize("by_index", [False, True])
def test_shards_into_a_model(by_index: bool, converted: Path) -> None:
    """By the index or by the folder, on the meta device too."""
    path = next(converted.glob("*.index.json")) if by_index else converted
    with torch.device("meta"):
        model = building.network()
    assert convlast.load_into(model, path) is model
    check(model, building.weights())


@pytest.mark.parametrize("by_index", [False, True])
def test_a_model_that_others_loaded_gets_the_layout(by_index: bool, converted: Path) -> None:
    """The manifests of all shards make one layout."""
    path = next(converted.glob("*.index.json")) if by_index else converted
    model = building.network()
    model.load_state_dict(building.weights())
    convlast.apply_layout(model, path)
    check(model, building.weights())


def test_shards_that_overlap_are_refused(tmp_path: Path) -> None:
    """Which of two tensors is meant would depend on the order of files."""
    index = building.sharded(tmp_path)
    builders.save_safetensors(building.weights(), tmp_path / f"{building.SECOND}.safetensors")
    with pytest.raises(MalformedCheckpointError, match=building.SECOND):
        convlast.load(index)


def test_a_folder_of_several_checkpoints_has_to_be_named_more_closely(tmp_path: Path) -> None:
    """One has to be named to be loaded; a layout that all of them agree on can be applied."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("best.pt", "last.pt"):
        builders.save(building.weights(), folder / name)
    builders.save(builders.without_convolutions(), folder / "other.pt")
    convlast.convert(folder, tmp_path / "out", QUIET)
    with pytest.raises(NotACheckpointError, match="there are 3"):
        convlast.load_into(building.network(), tmp_path / "out")
    model = building.network()
    model.load_state_dict(building.weights())
    check(convlast.apply_layout(model, tmp_path / "out"), building.weights())


def select(folder: Path, name: str, pattern: str) -> None:
    """Write a converted checkpoint of which only the layers of a pattern have the new layout."""
    folder.mkdir(parents=True, exist_ok=True)
    source = builders.save(building.weights(), folder.parent / "source.pt")
    options = QUIET.model_copy(update={"select": (pattern,)})
    convlast.convert(source, folder / name, options)


def test_checkpoints_that_disagree_are_refused(tmp_path: Path) -> None:
    """Two conversions of one model in a folder, with other layouts: the file has to be named."""
    select(tmp_path / "out", "a.pt", "all")
    select(tmp_path / "out" / "below", "b.pt", "0.*")
    model = building.network()
    with pytest.raises(ArchitectureMismatchError, match=r"equally well: a\.pt, below/b\.pt.*path"):
        convlast.apply_layout(model, tmp_path / "out")
    assert model.get_parameter("0.weight").is_contiguous()
    convlast.apply_layout(model, tmp_path / "out" / "a.pt")


def test_the_checkpoint_of_a_folder_that_fits_is_taken(tmp_path: Path) -> None:
    """Of two models in one folder, with a layer of one name, each gets its own layout."""
    folder = tmp_path / "in"
    (folder / "below").mkdir(parents=True)
    builders.save(building.weights(), folder / "below" / "a.pt")
    other = nn.ModuleDict({"0": nn.Conv3d(3, 6, 3)})
    builders.save(other.state_dict(), folder / "b.pt")
    convlast.convert(folder, tmp_path / "out", QUIET)
    model = building.network()
    model.load_state_dict(building.weights())
    check(convlast.apply_layout(model, tmp_path / "out"), building.weights())
    check(
        convlast.apply_layout(other, tmp_path / "out"),
        {"0.weight": other.get_parameter("0.weight")},
    )


def test_the_manifests_below_a_folder_are_named_where_none_fits(tmp_path: Path) -> None:
    """The error says which checkpoints were looked at, and which of them is the closest."""
    folder = tmp_path / "in"
    for name in ("unet", "vae"):
        (folder / name).mkdir(parents=True)
    builders.save(building.weights(), folder / "vae" / "a.pt")
    builders.save({"x.weight": builders.numbered(6, 2, 3, 3, 3)}, folder / "unet" / "b.pt")
    convlast.convert(folder, tmp_path / "out", QUIET)
    model = nn.Sequential(nn.Conv3d(3, 4, 3), nn.Conv3d(4, 4, 1))
    with pytest.raises(ArchitectureMismatchError, match=r"unet/b\.pt, vae/a\.pt") as refusal:
        convlast.apply_layout(model, tmp_path / "out")
    assert "closest is vae/a.pt: 1 of 2 layers" in str(refusal.value)
    assert len(str(refusal.value).splitlines()) <= 5


def test_a_file_beside_the_converted_ones_does_not_have_to_be_readable(tmp_path: Path) -> None:
    """Whatever else a trainer leaves in a folder, the layout is found."""
    select(tmp_path / "out", "a.pt", "all")
    (tmp_path / "out" / "broken.pt").write_bytes(b"PK\x03\x04 and no more")
    (tmp_path / "out" / "m.index.json").write_text('{"weight_map": {"a": "b", "c": "a.pt"}}')
    model = building.network()
    model.load_state_dict(building.weights())
    check(convlast.apply_layout(model, tmp_path / "out"), building.weights())


def test_loading_names_the_checkpoints_below_a_folder(tmp_path: Path) -> None:
    """A folder that has its checkpoints further below is refused with their names."""
    (tmp_path / "vae").mkdir()
    builders.save(building.weights(), tmp_path / "vae" / "a.pt")
    with pytest.raises(NotACheckpointError, match=r"there are 0: below it vae/a\.pt"):
        convlast.load(tmp_path)


def test_a_folder_that_was_not_converted_has_no_layout(tmp_path: Path) -> None:
    """A folder of checkpoints without manifests is refused."""
    builders.save(building.weights(), tmp_path / "a.pt")
    with pytest.raises(MalformedCheckpointError, match="no manifest"):
        convlast.apply_layout(building.network(), tmp_path)


def tied() -> nn.Sequential:
    """Two convolutions with one weight, and an own bias each."""
    first, second = nn.Conv3d(3, 4, 3), nn.Conv3d(3, 4, 3)
    second.weight = first.weight
    return nn.Sequential(first, second)


def test_a_tied_weight_that_was_saved_once_is_loaded_twice(tmp_path: Path) -> None:
    """Safetensors keeps one name of it; the model has both, on one storage."""
    model = tied()
    save_model(model, str(tmp_path / "m.safetensors"))
    assert len(load_file(tmp_path / "m.safetensors")) == 3
    options = Options(smoke="none", container="safetensors")
    convlast.convert(tmp_path / "m.safetensors", tmp_path / "c.safetensors", options)
    with torch.device("meta"):
        other = tied()
    convlast.load_into(other, tmp_path / "c.safetensors")
    assert other[0].weight is other[1].weight
    check(other, dict(model.named_parameters(remove_duplicate=False)))


def test_another_missing_weight_is_still_refused(tmp_path: Path) -> None:
    """Only what is tied to something that is there is filled in."""
    builders.save({"0.weight": builders.numbered(4, 3, 3, 3, 3)}, tmp_path / "m.pt")
    with pytest.raises(ArchitectureMismatchError, match=r"0\.bias"):
        convlast.load_into(tied(), tmp_path / "m.pt")


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "backbone.net."])
@pytest.mark.parametrize("is_in_file", [False, True])
def test_one_prefix_more_or_less_is_the_same_model(
    prefix: str, is_in_file: bool, tmp_path: Path
) -> None:
    """A wrapper that trains, compiles or holds a model puts its name before every key."""
    weights = building.weights()
    named = {prefix + key: value for key, value in weights.items()}
    convlast.convert(
        builders.save(named if is_in_file else weights, tmp_path / "m.pt"), tmp_path / "c.pt", QUIET
    )
    model: nn.Module = building.network()
    model.load_state_dict(weights)
    if not is_in_file:
        for part in reversed(prefix.removesuffix(".").split(".")):
            model = nn.ModuleDict({part: model})
    convlast.apply_layout(model, tmp_path / "c.pt")
    check(model, weights if is_in_file else named)


def test_prefixes_that_differ_are_another_model(tmp_path: Path) -> None:
    """A layer that fits by chance is not taken for one that was meant."""
    convlast.convert(builders.save(building.weights(), tmp_path / "m.pt"), tmp_path / "c.pt", QUIET)
    first, second = building.network()
    model = nn.ModuleDict({"a": nn.ModuleDict({"0": first}), "b": nn.ModuleDict({"1": second})})
    with pytest.raises(ArchitectureMismatchError, match=r"Not in the model: 1\.weight"):
        convlast.apply_layout(model, tmp_path / "c.pt")


def test_an_archive_has_to_be_unpacked(tmp_path: Path) -> None:
    """Loading from one would write files somewhere, or take its size in memory."""
    building.sharded(tmp_path / "in")
    archive = building.packed_zip(tmp_path / "in")
    for load in (convlast.load, lambda path: convlast.apply_layout(building.network(), path)):
        with pytest.raises(NotACheckpointError, match="Unpack"):
            load(archive)


def test_an_index_without_its_shards_is_refused(tmp_path: Path) -> None:
    """With what is missing."""
    index = tmp_path / "m.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "b.safetensors"}}))
    with pytest.raises(MalformedCheckpointError, match="None of the shards"):
        convlast.load(index)
