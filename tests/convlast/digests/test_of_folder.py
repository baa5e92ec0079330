"""Digests of model folders, of archives of them, and of sharded checkpoints."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import convlast
from convlast.digests.digesting import digest
from convlast.errors import NotACheckpointError, UnsupportedContainerError
from convlast.options import Options
from tests import builders
from tests.convlast.folders import building

WITH_DIGESTS = Options(smoke="none", tensor_digests=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two checkpoints, a program, and other files."""
    made = building.model_folder(tmp_path / "model")
    (made / "deep").mkdir()
    builders.save(builders.one_convolution(), made / "deep" / "a:b.pt")
    builders.save_exported_program(made / "program.pt2")
    return made


def test_each_line_begins_with_the_file(folder: Path) -> None:
    """A file's lines are those that it has alone, with its path; a colon in that is escaped."""
    found = digest(folder)
    alone = digest(folder / "deep" / "a:b.pt").tensors
    inside = [each for each in found.tensors if each.file == "deep/a:b.pt"]
    assert [each.model_copy(update={"file": None}) for each in inside] == list(alone)
    assert all(each.label.startswith("deep/a\\u003ab.pt:conv.") for each in inside)


def test_what_is_not_opened_is_named(folder: Path) -> None:
    """A pickle has no lines, and a program none unless it is allowed; nobody need guess why."""
    assert digest(folder).not_opened == ("plans.pkl", "program.pt2")
    opened = digest(folder, allow_programs=True)
    assert opened.not_opened == ("plans.pkl",)
    assert any(each.file == "program.pt2" for each in opened.tensors)


def test_a_folder_without_checkpoints_is_refused(tmp_path: Path) -> None:
    """An empty list would look like a result."""
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(NotACheckpointError, match="None of its 1 files"):
        digest(tmp_path)


def test_an_archive_has_the_lines_of_its_folder(folder: Path) -> None:
    """Whether it is packed does not count."""
    assert digest(building.packed_zip(folder)) == digest(building.packed_tar(folder))
    assert digest(building.packed_zip(folder)) == digest(folder)


def as_it_is(folder: Path) -> Path:
    """Return the folder."""
    return folder


@pytest.mark.parametrize(
    "pack", [as_it_is, building.packed_zip, building.packed_tar, building.packed_tar_gz]
)
def test_a_conversion_keeps_the_roots(
    pack: Callable[[Path], Path], folder: Path, tmp_path: Path
) -> None:
    """The folder's root is the same before and after, packed or not; so are those of its files."""
    source = pack(folder)
    report = convlast.convert(source, tmp_path / f"made-{source.name}", WITH_DIGESTS)
    assert report.artifact is not None
    assert report.input.tensors_sha256 == report.artifact.tensors_sha256 == digest(source).root
    roots = {each.path: each.input.tensors_sha256 for each in report.files}
    assert roots == {
        each.path: each.artifact.tensors_sha256 for each in report.files if each.artifact
    }
    one = next(path for path in roots if path.endswith("deep/a:b.pt"))
    assert roots[one] == digest(folder / "deep" / "a:b.pt").root
    assert roots[one.replace("deep/a:b.pt", "program.pt2")] is None
    made = report.artifact.filename
    assert digest(tmp_path / made) == digest(source)


def test_shards_have_the_root_of_one_file(tmp_path: Path) -> None:
    """Into how many files a checkpoint was cut does not count, nor does a conversion of it."""
    index = building.sharded(tmp_path / "shards")
    index = index if index.is_file() else next(index.glob("*.index.json"))
    tensors = {
        name: tensor
        for shard in index.parent.glob("*.safetensors")
        for name, tensor in convlast.load(shard).items()
    }
    whole = digest(builders.save(tensors, tmp_path / "whole.pt"))
    assert digest(index) == whole
    report = convlast.convert(index, tmp_path / "made", WITH_DIGESTS)
    assert report.artifact is not None
    assert report.input.tensors_sha256 == report.artifact.tensors_sha256 == whole.root
    assert digest(tmp_path / "made" / index.name) == whole


def test_a_shard_that_lacks_a_tensor_is_refused(tmp_path: Path) -> None:
    """A list without it would be one of less than the index says."""
    index = building.sharded(tmp_path / "shards")
    index = index if index.is_file() else next(index.glob("*.index.json"))
    shard = next(index.parent.glob("*.safetensors"))
    builders.save_safetensors({"other": torch.zeros(1)}, shard)
    with pytest.raises(convlast.ConvlastError, match="lacks"):
        digest(index)


def two_shards(folder: Path, *values: float) -> Path:
    """Write two shards, both with a tensor of one name, and return their index."""
    shards = [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    folder.mkdir()
    for shard, value, more in zip(shards, values, ("x.weight", "y.weight"), strict=True):
        tensors = {"a": torch.full((4,), value), more: torch.ones(2, 2, 1, 1, 1)}
        builders.save_safetensors(tensors, folder / shard)
    named = {"a": shards[0], "x.weight": shards[0], "y.weight": shards[1]}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": named}))
    return index


def test_different_tensors_of_one_name_in_two_shards_are_refused(tmp_path: Path) -> None:
    """The list would not change if they changed places; equal ones do no harm."""
    index = two_shards(tmp_path / "two", 1.0, 2.0)
    with pytest.raises(UnsupportedContainerError, match="both named a, in different shards"):
        digest(index)
    with pytest.raises(UnsupportedContainerError, match="both named a, in different shards"):
        convlast.convert(index, tmp_path / "made", WITH_DIGESTS)
    same = digest(two_shards(tmp_path / "same", 1.0, 1.0))
    assert [each.name for each in same.tensors] == ["a", "a", "x.weight", "y.weight"]
