"""Stores that name files by digests of their content, and version control, stay as they are."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

import convlast
from convlast.errors import NotACheckpointError
from convlast.options import Options
from tests import builders
from tests.convlast.folders import building

QUIET = Options(smoke="none")


def digest(data: bytes, function: str) -> str:
    """Return a digest; that of `git` has a header before the bytes."""
    if function == "git":
        function, data = "sha1", f"blob {len(data)}\0".encode() + data
    return hashlib.new(function, data, usedforsecurity=False).hexdigest()


def place(data: bytes, template: str) -> str:
    """Return a path for these bytes: `{md5}` stands for a digest, `{md5:0:2}` for a part of it.

    >>> place(b"", "{md5:0:2}/{md5:2:32}")
    'd4/1d8cd98f00b204e9800998ecf8427e'
    """
    for function in ("md5", "sha1", "sha256", "sha512", "git"):
        whole = digest(data, function)
        for start, end in ((0, 2), (2, 4), (0, 1), (2, 64), (4, 64), (2, 32)):
            template = template.replace(f"{{{function}:{start}:{end}}}", whole[start:end])
        template = template.replace(f"{{{function}}}", whole)
    return template


KEPT = (
    ".git/lfs/objects/{sha256:0:2}/{sha256:2:4}/{sha256}",
    ".git/annex/objects/f8/7q/SHA256E-s9--{sha256}.pt/SHA256E-s9--{sha256}.pt",
    "sub/.git/modules/x/lfs/objects/y",
    ".hg/largefiles/{sha1}",
    ".svn/pristine/{sha1:0:2}/{sha1}.svn-base",
    ".dvc/cache/files/md5/{md5:0:2}/{md5:2:32}",
    ".cache/huggingface/download/model.incomplete",
    ".huggingface/download/model.incomplete",
    ".sl/store/lfs/objects/x",
    "models--org--vae/blobs/an-object",
    "lfs/objects/{sha256:0:2}/{sha256:2:4}/{sha256}",
    "files/md5/{md5:0:2}/{md5:2:32}",
    "blobs/sha256-{sha256}",
    "blobs/sha256/{sha256}",
    "store/{sha256:0:2}/{sha256:2:64}",
    "store/{git}",
    "store/{sha512}.pt",
    "SHA1-s9--{sha1}",
)


@pytest.mark.parametrize("template", KEPT)
def test_a_file_in_a_store_keeps_its_bytes(template: str, tmp_path: Path) -> None:
    """The file beside the store is converted, and the report names the file in it."""
    folder = tmp_path / "model"
    (folder / "models--org--vae" / "snapshots" / "1").mkdir(parents=True)
    model = builders.save(building.weights(), folder / "models--org--vae/snapshots/1/model.pt")
    data = model.read_bytes()
    name = place(data, template)
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)
    report = convlast.convert(folder, tmp_path / "out", QUIET)
    assert (tmp_path / "out" / name).read_bytes() == data
    assert {layer.file for layer in report.layers} == {"models--org--vae/snapshots/1/model.pt"}
    assert [f.file for f in report.findings if f.code == "store-not-opened"] == [name]
    assert report.verdict == "passed"
    assert convlast.verify(folder, tmp_path / "out").verdict == "passed"


@pytest.mark.parametrize(
    "name",
    ["blobs/model.pt", "0" * 64, "resnet-{sha256:0:2}.pt", "git/model.pt", "cache/huggingface/a",
     "model.dvc/a", "{sha1}{md5}"],
)  # fmt: skip
def test_another_name_is_no_digest(name: str, tmp_path: Path) -> None:
    """A file whose name only looks like a digest is converted."""
    data = builders.save(building.weights(), tmp_path / "x").read_bytes()
    path = tmp_path / "model" / place(data, name)
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    assert len(convlast.convert(tmp_path / "model", tmp_path / "out", QUIET).layers) == 2


def test_an_index_in_a_store_is_a_file_like_others(tmp_path: Path) -> None:
    """The work tree of another revision may be half there, and refuses nothing."""
    folder = tmp_path / "model"
    index = building.sharded(folder / ".dvc" / "tmp")
    next(index.parent.glob("*.safetensors")).unlink()
    builders.save(building.weights(), folder / "model.pt")
    assert len(convlast.convert(folder, tmp_path / "out", QUIET).layers) == 2


def test_a_folder_with_nothing_but_a_store(tmp_path: Path) -> None:
    """It is refused, and the message says to name the folder with the files' own names."""
    (tmp_path / "model" / ".git").mkdir(parents=True)
    builders.save(building.weights(), tmp_path / "model" / ".git" / "model.pt")
    with pytest.raises(NotACheckpointError, match=r"\.git belongs to version control") as refusal:
        convlast.convert(tmp_path / "model", tmp_path / "out", QUIET)
    assert "names of their own" in refusal.value.remedy
