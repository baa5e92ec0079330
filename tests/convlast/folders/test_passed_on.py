"""One file that cannot be opened does not refuse a folder: it is passed on, with a warning."""

from __future__ import annotations

import gc
import gzip
import json
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import convlast
from convlast.errors import (
    ConvlastError,
    MalformedCheckpointError,
    NoConv3dWeightsError,
    NotACheckpointError,
    UnsafeCheckpointError,
    UnsupportedContainerError,
)
from convlast.options import Limits, Options
from convlast.report import Report
from tests import builders
from tests.convlast.folders import building
from tests.hostile import breaks_the_zip, runs_code
from tests.hostile.parts import sound

QUIET = Options(smoke="none")
STRICT = Options(smoke="none", on_unreadable="reject")
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 9\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write a folder of a good checkpoint."""
    (tmp_path / "model").mkdir()
    builders.save(building.weights(), tmp_path / "model" / "model.pt")
    return tmp_path / "model"


def legacy(folder: Path) -> bytes:
    """Return a checkpoint in the old format."""
    return builders.bytes_of(lambda path: builders.save_legacy(building.weights(), path), folder)


def safetensors(folder: Path) -> bytes:
    """Return a safetensors file."""
    save = builders.save_safetensors
    return builders.bytes_of(lambda path: save(building.weights(), path), folder)


UNREADABLE: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "other classes": (lambda _: runs_code.by_a_class_of_its_own(), "mynet"),
    "a truncated zip": (lambda _: sound()[:-100], "truncated"),
    "the beginning of a zip": (lambda _: sound()[:100], "truncated"),
    "truncated safetensors": (lambda folder: safetensors(folder)[:-5], ""),
    "the header of safetensors": (lambda folder: safetensors(folder)[:20], ""),
    "a truncated legacy file": (lambda folder: legacy(folder)[:-5], ""),
    "damaged values": (lambda _: breaks_the_zip.wrong_crc("data/0"), "CRC"),
    "a damaged pickle": (lambda _: breaks_the_zip.wrong_crc("data.pkl"), "CRC"),
    "compressed members": (lambda _: breaks_the_zip.deflated(), "compressed"),
    "big-endian values": (lambda _: breaks_the_zip.big_endian(), "big-endian"),
}


def warnings_in(report: Report) -> dict[str, str]:
    """Return the codes of the warnings, by their files."""
    return {str(f.file): f.code for f in report.findings if f.severity == "warning"}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_a_file_that_cannot_be_opened_is_passed_on(kind: str, folder: Path, tmp_path: Path) -> None:
    """A warning names it and says why; `verify` compares its bytes; strict options refuse it."""
    build, why = UNREADABLE[kind]
    data = build(tmp_path)
    (folder / "other.bin").write_bytes(data)
    report = convlast.convert(folder, tmp_path / "out", QUIET)
    assert (tmp_path / "out" / "other.bin").read_bytes() == data
    assert {layer.file for layer in report.layers} == {"model.pt"}
    assert warnings_in(report) == {"other.bin": "checkpoint-not-opened"}
    (warning,) = (found for found in report.findings if found.severity == "warning")
    assert why in warning.message
    assert convlast.verify(folder, tmp_path / "out").verdict == "passed"
    assert {layer.file for layer in convlast.inspect(folder).layers} >= {"model.pt"}
    with pytest.raises(ConvlastError) as refusal:
        convlast.convert(folder, tmp_path / "strict", STRICT)
    assert refusal.value.details["file"] == "other.bin"


def test_a_file_beyond_a_limit_is_passed_on(folder: Path, tmp_path: Path) -> None:
    """The warning names the setting."""
    builders.save({str(number): torch.ones(1) for number in range(20)}, folder / "optimizer.pt")
    report = convlast.convert(folder, tmp_path / "out", QUIET, limits=Limits(max_tensors=10))
    assert warnings_in(report) == {"optimizer.pt": "checkpoint-not-opened"}
    assert "max_tensors" in report.findings[-1].message


def test_nothing_of_a_file_that_is_passed_on_stays_open(folder: Path, tmp_path: Path) -> None:
    """A kept error would keep its traceback, and that the checkpoint."""
    from convlast.checkpoints.checkpoint import Checkpoint

    (folder / "a.pt").write_bytes(breaks_the_zip.wrong_crc("data/0"))
    alive: list[int] = []

    def count(stage: str, done: int, total: int) -> None:
        if stage == "files":
            alive.append(sum(issubclass(type(each), Checkpoint) for each in gc.get_objects()))

    gc.collect()
    gc.disable()
    try:
        convlast.convert(folder, tmp_path / "out", QUIET, progress=count)
    finally:
        gc.enable()
    assert set(alive) == {alive[0]}


def test_a_shard_that_cannot_be_opened_refuses_the_folder(tmp_path: Path) -> None:
    """An index needs it, so the rest of the model would be of no use."""
    index = building.sharded(tmp_path / "model", extension=".bin")
    shard = index.parent / f"{building.SECOND}.bin"
    builders.save(building.weights(), index.parent / "other.pt")
    shard.write_bytes(shard.read_bytes()[:-100])
    for verb in (convlast.inspect, lambda path: convlast.convert(path, tmp_path / "out", QUIET)):
        for path in (index, index.parent):
            with pytest.raises(MalformedCheckpointError, match=building.SECOND):
                verb(path)


def test_nothing_else_to_convert_refuses_the_folder(tmp_path: Path) -> None:
    """The error is that of the largest file, which is the model most likely."""
    folder = tmp_path / "model"
    folder.mkdir()
    builders.save(builders.without_convolutions(), folder / "text.pt")
    (folder / "a.pt").write_bytes(runs_code.by_a_class_of_its_own())
    with pytest.raises(UnsafeCheckpointError, match=r"'a\.pt': .*Nothing else in the folder"):
        convlast.convert(folder, tmp_path / "out", QUIET)
    builders.save({"x": torch.ones(10_000)}, folder / "b.pt")
    (folder / "b.pt").write_bytes((folder / "b.pt").read_bytes()[:-10])
    with pytest.raises(MalformedCheckpointError, match=r"'b\.pt': .*Nothing else"):
        convlast.inspect(folder)


def test_a_changed_file_is_found_even_if_it_cannot_be_opened(folder: Path, tmp_path: Path) -> None:
    """What could not be converted must be byte for byte as it was."""
    (folder / "other.pt").write_bytes(sound()[:-100])
    convlast.convert(folder, tmp_path / "out", QUIET)
    (tmp_path / "out" / "other.pt").write_bytes(sound()[:-101])
    assert convlast.verify(folder, tmp_path / "out").verdict == "failed"
    (folder / "other.pt").write_bytes(runs_code.by_a_class_of_its_own())
    with pytest.raises(UnsafeCheckpointError, match=r"other\.pt"):
        convlast.verify(folder, tmp_path / "out")


def archive_of(folder: Path) -> bytes:
    """Return a zip of a folder."""
    return building.packed_zip(folder).read_bytes()


def tar_of(folder: Path, mode: str = "w") -> bytes:
    """Return a tar of a folder, perhaps compressed."""
    path = folder.with_suffix(".packed")
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]  # any mode
        archive.add(folder, ".")
    return path.read_bytes()


OTHERS: dict[str, tuple[Callable[[Path], bytes], str, str | None, str]] = {
    # what it is: its bytes, its name, the code of the finding about it, and words of a refusal
    "a Git LFS pointer": (lambda _: POINTER, "a.safetensors", "file-not-fetched", "Git LFS"),
    "a pointer for anything": (lambda _: POINTER, "video.mp4", "file-not-fetched", "git lfs pull"),
    "a pointer of git-annex": (
        lambda _: b"/annex/objects/SHA256E-s9--0.pt\n", "a.pt", "file-not-fetched", "git annex get",
    ),
    "a link of git-annex as text": (
        lambda _: b"../.git/annex/objects/f8/7q/SHA256E-s9--0.pt/SHA256E-s9--0.pt", "a.pt",
        "file-not-fetched", "git annex get",
    ),
    "a pointer of Xet": (
        lambda _: b"# xet version 0\nfilesize = 9\nhash = '0'\n", "a.pt", "file-not-fetched", "Xet",
    ),
    "a note of DVC": (
        lambda _: b"outs:\n- md5: 0123456789abcdef\n  path: a.pt\n", "a.pt.dvc", "file-not-fetched",
        "dvc pull",
    ),
    "a zip": (archive_of, "old.zip", "archive-not-opened", "Unpack it"),
    "a tar": (tar_of, "old.tar", "archive-not-opened", "Unpack it"),
    "a compressed tar": (
        lambda folder: tar_of(folder, "w:gz"), "old.tgz", "archive-not-opened", "Unpack it",
    ),
    "a 7z archive": (lambda _: b"7z\xbc\xaf\x27\x1c", "old.7z", "archive-not-opened", "Unpack it"),
    "a compressed checkpoint": (
        lambda _: gzip.compress(sound()), "old.pt.gz", "archive-not-opened", "Unpack it",
    ),
    "a compressed image": (lambda _: gzip.compress(b"x"), "ct.nii.gz", None, "gzip-compressed"),
    "NumPy's archive": (
        lambda folder: zip_of(folder / "x", "a.npy"), "plans.npz", None, "NumPy's arrays",
    ),
    "an empty checkpoint": (lambda _: b"", "model.ckpt", "not-a-checkpoint", "is empty"),
    "zeros of a download": (lambda _: bytes(99), "model.pth", "not-a-checkpoint", "no format"),
    "an error page": (lambda _: b"<html>", "model.pt", "not-a-checkpoint", "HTML page"),
    "an HDF5 file": (lambda _: b"\x89HDF\r\n\x1a\n", "model.h5", None, "HDF5"),
    "an empty file": (lambda _: b"", "__init__.py", None, "no checkpoint among its 1 files."),
    "a pickle": (lambda _: b"\x80\x04N.", "data.pkl", "pickle-not-opened", "a pickle"),
    "a note of macOS": (
        lambda _: b"\0\5\x16\7\0\2\0\0Mac OS X", "__MACOSX/._good.pt", None,
        "no checkpoint among its 1 files.",
    ),
    "an lz4 file": (lambda _: b"\x04\x22\x4d\x18", "old.pt.lz4", "archive-not-opened", "lz4"),
    "a Keras model": (
        lambda folder: zip_of(folder / "x", "model.weights.h5"), "m.keras", None, "Keras",
    ),
    "an archive of TorchServe": (
        lambda folder: zip_of(folder / "x", "MAR-INF/MANIFEST.json"), "m.mar",
        "archive-not-opened", "TorchServe",
    ),
}  # fmt: skip


def zip_of(path: Path, name: str) -> bytes:
    """Return a zip of one member."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, b"x")
    data = path.read_bytes()
    path.unlink()
    return data


@pytest.mark.parametrize("kind", OTHERS)
def test_a_file_that_is_no_checkpoint_is_named(kind: str, folder: Path, tmp_path: Path) -> None:
    """There is a finding beside a good model; alone the refusal says what it is, and what to do."""
    build, name, code, words = OTHERS[kind]
    data = build(folder)
    (folder / "model.pt").rename(folder / "good.pt")
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(data)
    report = convlast.convert(folder, tmp_path / "out", QUIET)
    assert (tmp_path / "out" / name).read_bytes() == data
    assert [found.code for found in report.findings if found.file == name] == ([code] * bool(code))
    assert convlast.verify(folder, tmp_path / "out").verdict == "passed"
    (folder / "good.pt").unlink()
    with pytest.raises(NotACheckpointError) as refusal:
        convlast.convert(folder, tmp_path / "again", QUIET)
    assert words in str(refusal.value)
    assert (name in str(refusal.value)) == (words != "no checkpoint among its 1 files.")


def test_a_pointer_beside_a_model_of_other_layers_is_named(tmp_path: Path) -> None:
    """The convolutions may be in the file that was not fetched."""
    (tmp_path / "model").mkdir()
    builders.save(builders.without_convolutions(), tmp_path / "model" / "text.pt")
    (tmp_path / "model" / "unet.safetensors").write_bytes(POINTER)
    with pytest.raises(NoConv3dWeightsError, match=r"unet\.safetensors.*Git LFS pointer"):
        convlast.convert(tmp_path / "model", tmp_path / "out", QUIET)


def test_a_checkpoint_of_orbax_is_named(tmp_path: Path) -> None:
    """Its parts are compressed and have no extension; nobody is told to unpack them."""
    parts = tmp_path / "model" / "d"
    parts.mkdir(parents=True)
    (parts / "0123abcd").write_bytes(b"\x28\xb5\x2f\xfd" + bytes(99))
    (tmp_path / "model" / "manifest.ocdbt").write_bytes(b"\x0c\xdb\x3a\x2a")
    with pytest.raises(NotACheckpointError, match="Orbax"):
        convlast.convert(tmp_path / "model", tmp_path / "out", QUIET)


def test_a_pointer_for_a_shard_is_named(tmp_path: Path) -> None:
    """The refusal says what it is, and how to fetch the shard itself."""
    index = building.sharded(tmp_path / "model")
    (index.parent / f"{building.FIRST}.safetensors").write_bytes(POINTER)
    with pytest.raises(MalformedCheckpointError, match=r"Git LFS pointer.*git lfs pull"):
        convlast.convert(index, tmp_path / "out", QUIET)


def test_a_note_of_dvc_beside_its_file_is_no_matter(folder: Path, tmp_path: Path) -> None:
    """The file was fetched."""
    (folder / "model.pt.dvc").write_bytes(b"outs:\n- md5: 01\n  path: model.pt\n")
    report = convlast.convert(folder, tmp_path / "out", QUIET)
    assert {found.file for found in report.findings} == {"model.pt"}


def test_links_that_lead_nowhere_are_named(folder: Path, tmp_path: Path) -> None:
    """A warning says that they are left out, unless that is to be refused."""
    (folder / "lost").symlink_to("nothing")
    report = convlast.convert(folder, tmp_path / "out", QUIET)
    for each in (report, convlast.inspect(folder)):
        assert [found.code for found in each.findings if found.file is None] == ["left-out"]
    assert convlast.verify(folder, tmp_path / "out").verdict == "passed"
    with pytest.raises(MalformedCheckpointError, match="'lost' cannot be copied"):
        convlast.convert(folder, tmp_path / "strict", STRICT)
    (folder / "model.pt").unlink()
    with pytest.raises(NotACheckpointError, match="'lost' was left out"):
        convlast.convert(folder, tmp_path / "again", QUIET)


def test_an_artifact_of_links_has_plain_files(tmp_path: Path) -> None:
    """Each link gives a file; the files that the links lead to stay as they were."""
    model = building.model_folder(tmp_path / "blobs")
    snapshot = tmp_path / "snapshot"
    for name in building.files_in(model):
        (snapshot / name).parent.mkdir(parents=True, exist_ok=True)
        (snapshot / name).symlink_to(model / name)
    before = building.files_in(model)
    convlast.convert(snapshot, tmp_path / "out", QUIET)
    convlast.convert(model, tmp_path / "plain", QUIET)
    assert not any(path.is_symlink() for path in (tmp_path / "out").rglob("*"))
    assert building.files_in(tmp_path / "out") == building.files_in(tmp_path / "plain")
    assert building.files_in(model) == before
    assert convlast.verify(snapshot, tmp_path / "out").verdict == "passed"
    index = snapshot / "vae" / "m.safetensors.index.json"
    assert len(convlast.convert(index, tmp_path / "shards", QUIET).layers) == 2


@pytest.mark.filterwarnings("ignore")  # the library for distributed checkpoints warns
def test_a_distributed_checkpoint_is_named(folder: Path, tmp_path: Path) -> None:
    """Beside a model it is passed on; alone it is refused; both say how to make one file of it."""
    from torch.distributed.checkpoint.state_dict_saver import save

    save({"model": building.weights()}, checkpoint_id=folder / "fsdp", no_dist=True)
    builders.save(building.weights(), folder / "fsdp" / "__1_0.distcp")
    before = building.files_in(folder / "fsdp")
    report = convlast.convert(folder, tmp_path / "out", QUIET)
    assert building.files_in(tmp_path / "out" / "fsdp") == before
    assert {layer.file for layer in report.layers} == {"model.pt"}
    assert set(warnings_in(report)) == {"fsdp/__0_0.distcp", "fsdp/__1_0.distcp"}
    shutil.copy(folder / "model.pt", folder / "fsdp" / "common.pt")
    for path in (folder / "fsdp", folder / "fsdp" / "__0_0.distcp"):
        (folder / "fsdp" / "common.pt").unlink(missing_ok=True)
        with pytest.raises(UnsupportedContainerError, match="dcp_to_torch"):
            convlast.inspect(path)
    with pytest.raises(NotACheckpointError, match="dcp_to_torch"):
        convlast.inspect(folder / "fsdp" / ".metadata")


def test_files_keep_misleading_names(tmp_path: Path) -> None:
    """The names of a folder's files are not the user's, and refuse nothing."""
    (tmp_path / "model").mkdir()
    builders.save(building.weights(), tmp_path / "model" / "a.safetensors")
    builders.save_safetensors(building.weights(), tmp_path / "model" / "b.pt")
    report = convlast.convert(tmp_path / "model", tmp_path / "out", QUIET)
    assert len(report.layers) == 4
    assert convlast.verify(tmp_path / "model", tmp_path / "out").verdict == "passed"


def test_the_manifests_beside_such_files_are_read(folder: Path, tmp_path: Path) -> None:
    """What was converted carries a note, whatever is beside it."""
    from convlast.folders.notes import notes_in

    (folder / "a.pt").write_bytes(sound()[:-100])
    (folder / "b.safetensors").write_bytes(safetensors(tmp_path)[:-5])
    convlast.convert(folder, tmp_path / "out", QUIET)
    assert notes_in(tmp_path / "out", Limits()).files.keys() == {"model.pt"}
    assert json.loads(notes_in(tmp_path / "out", Limits()).model_dump_json())
