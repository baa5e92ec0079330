from __future__ import annotations

import json
from pathlib import Path

import pytest

from convlast.errors import LimitExceededError, MalformedCheckpointError, NotACheckpointError
from convlast.folders import open_folder
from convlast.folders.index import indices_of
from convlast.folders.shards import groups_in, parts_of
from convlast.options import Limits
from tests import builders
from tests.convlast.folders import building


def test_an_index_says_where_each_tensor_is(tmp_path: Path) -> None:
    """An index says which shard each tensor is in; the shards are beside it, in any folder."""
    building.sharded(tmp_path / "vae", split_bias=True)
    with open_folder(tmp_path, tmp_path, Limits()) as folder:
        (index,) = indices_of(folder)
    first, second = (f"vae/{name}.safetensors" for name in (building.FIRST, building.SECOND))
    assert index.shards == [first, second]
    assert index.keys_in(first) == {"0.weight", "1.bias"}
    assert index.biases_elsewhere(first) == {"0.bias": second}
    assert index.biases_elsewhere(second) == {"1.bias": first}


def test_an_index_alone_brings_its_shards_and_nothing_else(tmp_path: Path) -> None:
    """With an index alone, other files of its folder, such as links, are not read."""
    index = building.sharded(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path)
    with open_folder(index, tmp_path, Limits()) as folder:
        assert len(folder.members) == 3
        assert folder.kind == "sharded"


def test_shards_may_be_links(tmp_path: Path) -> None:
    """And so may be the index: the cache of a hub is made of links."""
    building.sharded(tmp_path / "blobs")
    (tmp_path / "snapshot").mkdir()
    for blob in (tmp_path / "blobs").iterdir():
        (tmp_path / "snapshot" / blob.name).symlink_to(f"../blobs/{blob.name}")
    with open_folder(tmp_path / "snapshot" / "m.safetensors.index.json", tmp_path, Limits()) as it:
        assert len(it.members) == 3
        assert all(it.digest(name) for name in it.members)


def test_an_index_may_be_a_link_from_elsewhere(tmp_path: Path) -> None:
    """The shards are beside the file that it leads to, perhaps by another link."""
    index = building.sharded(tmp_path / "snapshot")
    blob = index.rename(tmp_path / "blob")
    index.symlink_to("../blob")
    (tmp_path / "models").mkdir()
    link = tmp_path / "models" / "vae.json"
    link.symlink_to("../snapshot/m.safetensors.index.json")
    for path in (index, link):
        with open_folder(path, tmp_path, Limits()) as it:
            assert set(it.members) == building.files_in(index.parent).keys()
        assert {part.parent.resolve() for part in parts_of(path)} == {index.parent}
    with pytest.raises(MalformedCheckpointError, match="None of the shards that 'blob' names"):
        open_folder(blob, tmp_path, Limits())


@pytest.mark.parametrize("whole", [False, True])
def test_a_missing_shard_is_refused_by_its_name(whole: bool, tmp_path: Path) -> None:
    """A missing shard is refused by name, in a folder and for an index alone."""
    index = building.sharded(tmp_path)
    (tmp_path / f"{building.SECOND}.safetensors").unlink()
    with (
        pytest.raises(MalformedCheckpointError, match=building.SECOND),
        open_folder(tmp_path if whole else index, tmp_path, Limits()) as folder,
    ):
        indices_of(folder)


def test_an_index_without_any_shard_is_a_file_like_others(tmp_path: Path) -> None:
    """In a folder an index without any of its shards is an ordinary file; alone it is refused."""
    index = building.sharded(tmp_path)
    for shard in tmp_path.glob("*.safetensors"):
        shard.unlink()
    with open_folder(tmp_path, tmp_path, Limits()) as folder:
        assert indices_of(folder) == []
    with pytest.raises(MalformedCheckpointError, match="None of the shards"):
        open_folder(index, tmp_path, Limits())


@pytest.mark.parametrize("place", ["../secret", "/etc/passwd", "..", ".", "sub/x", "a\0b"])
def test_an_index_leads_nowhere_else(place: str, tmp_path: Path) -> None:
    """A shard has to be beside its index; one that is named elsewhere is missing."""
    (tmp_path / "secret").write_bytes(b"x")
    folder = tmp_path / "model"
    folder.mkdir()
    index = folder / "m.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": place}}))
    with pytest.raises(MalformedCheckpointError):
        open_folder(index, tmp_path, Limits())
    with open_folder(folder, tmp_path, Limits()) as opened:
        assert indices_of(opened) == []


def test_broken_and_large_indices_are_refused(tmp_path: Path) -> None:
    """Broken and large indices are refused; other JSON files are ignored."""
    index = building.sharded(tmp_path)
    text = index.read_text()
    index.write_text(text[:-5])
    with (
        open_folder(tmp_path, tmp_path, Limits()) as folder,
        pytest.raises(MalformedCheckpointError, match=index.name),
    ):
        indices_of(folder)
    index.write_text(text)
    for limits in (Limits(max_header_bytes=10), Limits(max_tensors=3)):
        with open_folder(tmp_path, tmp_path, limits) as folder, pytest.raises(LimitExceededError):
            indices_of(folder)
    index.write_text('{"weight_map": {"a": 1}}')
    with open_folder(tmp_path, tmp_path, Limits()) as folder:
        assert indices_of(folder) == []


def test_the_parts_of_a_path(tmp_path: Path) -> None:
    """A path stands for a file, an index's shards, or the only checkpoint in a folder."""
    index = building.sharded(tmp_path)
    shards = [tmp_path / f"{name}.safetensors" for name in (building.FIRST, building.SECOND)]
    assert parts_of(index) == shards
    assert parts_of(tmp_path) == shards
    assert parts_of(shards[0]) == [shards[0]]
    single = builders.save(building.weights(), tmp_path / "b.pt")
    assert groups_in(tmp_path) == [shards, [single]]


def test_several_checkpoints_or_none_are_not_one(tmp_path: Path) -> None:
    """A folder with several checkpoints or none is refused, and so is an archive."""
    with pytest.raises(NotACheckpointError, match="there are 0"):
        parts_of(tmp_path)
    for name in ("a.pt", "b.pt"):
        builders.save(building.weights(), tmp_path / name)
    with pytest.raises(NotACheckpointError, match=r"2: a\.pt, b\.pt"):
        parts_of(tmp_path)
    with pytest.raises(NotACheckpointError, match="Unpack"):
        parts_of(building.packed_zip(tmp_path))
