"""A model folder is converted whole: every checkpoint, and nothing else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import convlast
from convlast.conversion import Source, convert_into
from convlast.errors import (
    ConvlastError,
    MalformedCheckpointError,
    NoConv3dWeightsError,
    NotACheckpointError,
    OptionError,
    ProgramNotAllowedError,
    UnsafeCheckpointError,
    VerificationError,
)
from convlast.options import Limits, Options
from convlast.report import Report
from tests import builders
from tests.convlast.folders import building
from tests.exactness import restrided, strides_by_pytorch
from tests.hostile import runs_code

jit: Any = torch.jit  # whose functions are not annotated
QUIET = Options(smoke="none")
STRICT = Options(smoke="none", on_unreadable="reject")
UNDO = Options(smoke="none", memory_format="contiguous_format")
SHARDS = {f"vae/{name}.safetensors" for name in (building.FIRST, building.SECOND)}
CONVERTED = {"checkpoint_final.pth", "old.pth", *SHARDS}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write a model folder."""
    return building.model_folder(tmp_path / "model")


def check(before: Path, after: Path) -> None:
    """Check that of two folders exactly the convolution weights differ, and only in layout."""
    old, new = building.files_in(before), building.files_in(after)
    assert old.keys() == new.keys()
    assert {name for name in old if old[name] != new[name]} == CONVERTED
    for name in ("checkpoint_final.pth", "old.pth"):
        for path, (_, strides) in restrided(before / name, after / name).items():
            assert str(path[-1]).endswith("weight")
            shape = building.weights()[str(path[-1])]
            assert strides == strides_by_pytorch(shape)
        assert len(restrided(before / name, after / name)) == 2
    for name in SHARDS:
        plain, mine = load_file(before / name), convlast.load(after / name)
        assert plain.keys() == load_file(after / name).keys() == mine.keys()
        for key, value in plain.items():
            assert torch.equal(mine[key], value)
            expected = strides_by_pytorch(value) if value.dim() == 5 else value.stride()
            assert mine[key].stride() == expected


def test_a_folder(folder: Path, tmp_path: Path) -> None:
    """Each checkpoint keeps its name and all else its bytes; the input stays as it was."""
    before = building.files_in(folder)
    report = convlast.convert(folder, tmp_path / "out", QUIET)

    check(folder, tmp_path / "out")
    assert building.files_in(folder) == before
    assert (tmp_path / "out" / "empty").is_dir()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "out"]
    assert report.verdict == "passed"


@pytest.mark.parametrize("kind", building.PACKED)
def test_an_archive(kind: str, folder: Path, tmp_path: Path) -> None:
    """A zip gives a zip and a tar a tar, under the names that the files had."""
    archive = building.PACKED[kind](folder)
    digest = archive.read_bytes()
    report, made = convert_into(archive, tmp_path / "model", QUIET)

    extension = "zip" if kind == "zip" else "tar"
    assert made.name == f"model.channels_last_3d.{extension}"
    assert archive.read_bytes() == digest
    check(
        building.unpacked(archive, tmp_path / "before"),
        building.unpacked(made, tmp_path / "after"),
    )
    assert report.artifact is not None
    assert report.artifact.container == f"{extension}-folder" == report.input.container
    again, _ = convert_into(archive, tmp_path / "model", QUIET)
    assert again.artifact == report.artifact


@pytest.mark.parametrize("extension", [".safetensors", ".bin"])
def test_an_index_with_its_shards(extension: str, tmp_path: Path) -> None:
    """The artifact is a folder with the index as it was and the shards converted."""
    index = building.sharded(tmp_path / "in", extension=extension)
    report, made = convert_into(index, tmp_path, QUIET)

    assert made.name == "m.channels_last_3d"
    assert (made / index.name).read_bytes() == index.read_bytes()
    assert [layer.kind for layer in report.layers] == ["Conv3d", "unknown"]
    assert [section.role for section in report.files].count("index") == 1
    for section in report.files:
        assert section.advice is None or index.name in section.advice.load
    loaded = convlast.load(made / index.name)
    for key, value in building.weights().items():
        assert torch.equal(loaded[key], value)
        assert value.dim() != 5 or loaded[key].stride() == strides_by_pytorch(value)


def test_a_bias_in_another_shard_is_evidence(tmp_path: Path) -> None:
    """What a weight is does not depend on where the file was cut."""
    whole = convlast.inspect(building.sharded(tmp_path / "whole"))
    split = convlast.inspect(building.sharded(tmp_path / "split", split_bias=True))
    facts = [
        {(layer.name, layer.kind, layer.evidence) for layer in report.layers}
        for report in (whole, split)
    ]
    assert facts[0] == facts[1]


def test_a_norm_whose_bias_is_in_another_shard_is_no_convolution(tmp_path: Path) -> None:
    """A 5-D weight with a 5-D bias is a LayerNorm's, wherever that bias is."""
    shape = (2, 2, 2, 2, 2)
    parts = {
        "a.safetensors": {"norm.weight": torch.ones(shape), "conv.weight": torch.ones(shape)},
        "b.safetensors": {"norm.bias": torch.ones(shape)},
    }
    for name, tensors in parts.items():
        builders.save_safetensors(tensors, tmp_path / name)
    places = {key: name for name, tensors in parts.items() for key in tensors}
    index = tmp_path / "m.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": places}))
    assert [layer.name for layer in convlast.inspect(index).layers] == ["conv.weight"]


def sections_of(report: Report) -> dict[str, tuple[str, str, bool | None]]:
    """Return role, container, and whether it stayed, of each file."""
    return {
        section.path: (
            section.role,
            section.input.container,
            section.artifact.unchanged if section.artifact else None,
        )
        for section in report.files
    }


def test_the_report_has_a_section_for_each_file(folder: Path, tmp_path: Path) -> None:
    """With its own digests, proof and findings; together they are the whole report."""
    report = convlast.convert(folder, tmp_path / "out", QUIET)
    assert sections_of(report) == {
        "checkpoint_final.pth": ("checkpoint", "torch", False),
        "config.json": ("other", "other", True),
        "old.pth": ("checkpoint", "torch-legacy", False),
        "plans.pkl": ("other", "other", True),
        "text.safetensors": ("checkpoint", "safetensors", True),
        f"vae/{building.FIRST}.safetensors": ("checkpoint", "safetensors", False),
        f"vae/{building.SECOND}.safetensors": ("checkpoint", "safetensors", False),
        "vae/m.safetensors.index.json": ("index", "other", True),
        "vae/progress.png": ("other", "other", True),
    }
    assert report.proof is not None
    assert report.proof.tensors == sum(s.proof.tensors for s in report.files if s.proof) == 12
    assert {layer.file for layer in report.layers} == CONVERTED
    assert len(report.layers) == 6
    codes = {(found.code, found.file) for found in report.findings}
    assert ("pickle-not-opened", "plans.pkl") in codes
    assert ("no-conv3d-weights", "text.safetensors") in codes
    alone = report.of_file(report.files[0])
    assert [layer.name for layer in alone.layers] == ["0.weight", "1.weight"]
    assert Report.model_validate_json(report.model_dump_json()) == report


def test_the_digest_of_a_folder_is_that_of_its_listing(folder: Path, tmp_path: Path) -> None:
    """As `sha256sum` over the files' `sha256sum` gives it, for the input and for the artifact."""
    import hashlib

    def digest(path: Path) -> str:
        lines = (
            f"{hashlib.sha256(data).hexdigest()}  {name}\n"
            for name, data in sorted(building.files_in(path).items(), key=lambda i: i[0].encode())
        )
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    report = convlast.convert(folder, tmp_path / "out", QUIET)
    assert report.input.sha256 == digest(folder)
    assert report.artifact is not None
    assert report.artifact.sha256 == digest(tmp_path / "out")
    assert report.artifact.bytes == sum(map(len, building.files_in(tmp_path / "out").values()))


def test_patterns_count_over_all_files(folder: Path, tmp_path: Path) -> None:
    """One that matches in any file is good; one that matches in none is the error."""
    report = convlast.convert(folder, tmp_path / "out", Options(smoke="none", select=("0.*",)))
    assert {layer.name: layer.status for layer in report.layers} == {
        "0.weight": "converted",
        "1.weight": "kept",
    }
    kept = next(s for s in report.files if s.path == f"vae/{building.SECOND}.safetensors")
    assert kept.artifact is not None
    assert kept.artifact.unchanged
    with pytest.raises(OptionError, match=r"'7\.\*' matches none of the 6"):
        convlast.convert(folder, tmp_path / "no", Options(smoke="none", select=("0.*", "7.*")))
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize(
    "options",
    [Options(container="torch"), Options(container="safetensors"), Options(dtype="float16")],
)
def test_files_that_name_each_other_keep_their_kind(
    options: Options, folder: Path, tmp_path: Path
) -> None:
    """An index and a configuration would no longer fit."""
    with pytest.raises(OptionError, match="In a model folder"):
        convlast.convert(folder, tmp_path / "out", options)


@pytest.mark.filterwarnings("ignore")  # torch.jit is deprecated, and says so
def test_programs_stay_closed_where_they_are_not_allowed(folder: Path, tmp_path: Path) -> None:
    """A bundle has one beside its weights; it passes through, and the report says so."""
    jit.save(jit.script(nn.Conv3d(3, 4, 3)), folder / "model.ts")
    report = convlast.convert(folder, tmp_path / "out", QUIET)
    assert (tmp_path / "out" / "model.ts").read_bytes() == (folder / "model.ts").read_bytes()
    assert [f.code for f in report.findings if f.file == "model.ts"] == ["program-not-opened"]
    assert report.verdict == "passed_with_findings"

    allowed = convlast.convert(folder, tmp_path / "allowed", QUIET, allow_programs=True)
    assert "model.ts" in {layer.file for layer in allowed.layers}
    weight = jit.load(tmp_path / "allowed" / "model.ts").weight
    assert weight.stride() == strides_by_pytorch(weight)


def with_one_file(name: str, write: Callable[[Path], object]) -> Callable[[Path], None]:
    """Return what writes a folder of one file."""

    def build(folder: Path) -> None:
        folder.mkdir()
        write(folder / name)

    return build


NOTHING: dict[str, tuple[Callable[[Path], None], type[ConvlastError], str]] = {
    "no checkpoint": (
        with_one_file("a.txt", lambda path: path.write_text("a")), NotACheckpointError, "1 files",
    ),
    "an empty folder": (Path.mkdir, NotACheckpointError, "0 files"),
    "no convolution": (
        with_one_file("a.pt", lambda path: builders.save(builders.without_convolutions(), path)),
        NoConv3dWeightsError, "None of the 1 checkpoints",
    ),
    "a program alone": (
        with_one_file("a.ts", builders.save_torchscript), ProgramNotAllowedError, r"'a\.ts'",
    ),
    "an archive in it": (
        with_one_file("a.zip", lambda path: path.write_bytes(b"PK\5\6" + bytes(18))),
        NotACheckpointError, "no checkpoint",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", NOTHING)
def test_a_folder_with_nothing_to_convert(case: str, tmp_path: Path) -> None:
    """Each is refused by its own code, and nothing is written; so it is when inspected."""
    build, error, words = NOTHING[case]
    build(tmp_path / "model")
    with pytest.raises(error, match=words):
        convlast.convert(tmp_path / "model", tmp_path / "out", QUIET)
    with pytest.raises(error, match=words):
        convlast.inspect(tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_an_unsafe_file_refuses_the_whole_if_asked(folder: Path, tmp_path: Path) -> None:
    """The error names it by its path, as data too; nothing of the others is written."""
    (folder / "vae" / "bad.pt").write_bytes(runs_code.by_a_class_of_its_own())
    for path in (folder, building.packed_zip(folder)):
        with pytest.raises(UnsafeCheckpointError, match=r"'vae/bad\.pt': .*mynet") as refusal:
            convlast.convert(path, tmp_path / "out", STRICT)
        assert refusal.value.details["file"] == "vae/bad.pt"
    assert not (tmp_path / "out").exists()


def test_a_damaged_file_refuses_the_whole_if_asked(folder: Path, tmp_path: Path) -> None:
    """A checkpoint that is cut short is refused by name."""
    path = folder / "checkpoint_final.pth"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(MalformedCheckpointError, match="checkpoint_final"):
        convlast.convert(folder, tmp_path / "out", STRICT)


@pytest.mark.parametrize("extension", [".safetensors", ".bin"])
def test_an_index_and_its_shards_must_agree(extension: str, tmp_path: Path) -> None:
    """A tensor that is missing is refused by name; one that is too many is a finding."""
    index = building.sharded(tmp_path / "in", extension=extension)
    said = json.loads(index.read_text())
    said["weight_map"]["2.weight"] = f"{building.FIRST}{extension}"
    index.write_text(json.dumps(said))
    with pytest.raises(MalformedCheckpointError, match=r"lacks '2\.weight'"):
        convlast.convert(index, tmp_path / "out", QUIET)
    del said["weight_map"]["2.weight"], said["weight_map"]["0.bias"]
    index.write_text(json.dumps(said))
    report = convlast.convert(index, tmp_path / "out", QUIET)
    found = [found for found in report.findings if found.code == "not-in-index"]
    assert [(f.layer, f.file) for f in found] == [("0.bias", f"{building.FIRST}{extension}")]
    assert report.verdict == "passed_with_findings"


def test_a_shard_that_is_none_is_refused(tmp_path: Path) -> None:
    """What an index names must be a checkpoint."""
    index = building.sharded(tmp_path)
    (tmp_path / f"{building.FIRST}.safetensors").write_bytes(b"lost")
    with pytest.raises(MalformedCheckpointError, match="is no shard"):
        convlast.convert(index, tmp_path.parent / "out", QUIET)


def test_places_for_a_folder(folder: Path, tmp_path: Path) -> None:
    """An empty folder is filled; one with files, or one in the input, is left alone."""
    (tmp_path / "empty").mkdir()
    convlast.convert(folder, tmp_path / "empty", QUIET)
    check(folder, tmp_path / "empty")
    with pytest.raises(OptionError, match="no empty folder"):
        convlast.convert(folder, tmp_path / "empty", QUIET)
    with pytest.raises(OptionError, match="in the input"):
        convlast.convert(folder, folder / "out", QUIET)
    with pytest.raises(OptionError):
        convlast.convert(folder, folder, QUIET)


def test_a_failed_file_fails_the_folder(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the whole report, and nothing written, unless that is asked for."""
    from convlast.findings import conversion as findings
    from convlast.report import Finding

    def broken(*_: object) -> list[Finding]:
        return [Finding(code="values-changed", severity="error", message="They changed.")]

    monkeypatch.setattr(findings, "of_comparison", broken)
    with pytest.raises(VerificationError) as refusal:
        convlast.convert(folder, tmp_path / "out", QUIET)
    assert not any(section.artifact for section in refusal.value.report.files)
    assert {f.file for f in refusal.value.report.findings if f.severity == "error"} == CONVERTED
    assert not (tmp_path / "out").exists()
    options = Options(smoke="none", on_failure="report")
    assert convlast.convert(folder, tmp_path / "out", options).verdict == "failed"
    assert (tmp_path / "out").is_dir()


def test_a_folder_converted_twice_and_undone(folder: Path, tmp_path: Path) -> None:
    """The second conversion changes nothing, and the undo gives every tensor its first strides."""
    convlast.convert(folder, tmp_path / "once", QUIET)
    convlast.convert(tmp_path / "once", tmp_path / "twice", QUIET)
    assert building.files_in(tmp_path / "once") == building.files_in(tmp_path / "twice")
    convlast.convert(tmp_path / "once", tmp_path / "undone", UNDO)
    for name in ("checkpoint_final.pth", "old.pth"):
        assert restrided(folder / name, tmp_path / "undone" / name) == {}
    for name in SHARDS:
        before, after = convlast.load(folder / name), convlast.load(tmp_path / "undone" / name)
        assert {k: v.stride() for k, v in before.items()} == {
            k: v.stride() for k, v in after.items()
        }


def test_inspect_says_what_would_be_converted(folder: Path, tmp_path: Path) -> None:
    """Of a folder and of an archive alike; nothing is written."""
    of_folder = convlast.inspect(folder)
    of_archive = convlast.inspect(Source(building.packed_zip(folder), "mine.zip"))
    assert of_archive.input.filename == "mine.zip"
    assert {layer.status for layer in of_folder.layers} == {"convertible"}
    by_file = [
        sorted((str(layer.file), layer.name) for layer in report.layers)
        for report in (of_folder, of_archive)
    ]
    assert by_file[0] == by_file[1]
    assert {name: kind for name, (_, kind, made) in sections_of(of_folder).items() if made is None}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "model.zip"]


def test_progress_says_how_much_there_is(folder: Path, tmp_path: Path) -> None:
    """Before anything is taken out of an archive: whoever runs this can make room, or refuse."""
    told: list[tuple[str, int, int]] = []
    convlast.convert(
        building.packed_zip(folder), tmp_path / "out.zip", QUIET,
        progress=lambda *stage: told.append(stage),
    )  # fmt: skip
    total = sum(map(len, building.files_in(folder).values()))
    assert told[0] == ("files", 0, total)
    assert told[-1] == ("files", total, total)


def test_limits_hold_for_each_file(folder: Path, tmp_path: Path) -> None:
    """The refusal names the file and the setting."""
    with pytest.raises(ConvlastError, match=r"'checkpoint_final.pth': .*max_members") as refusal:
        convlast.convert(folder, tmp_path / "out", STRICT, limits=Limits(max_members=3))
    assert refusal.value.code == "limit-exceeded"


def test_one_file_is_open_at_a_time(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When a checkpoint is opened, nothing of the one before is left, nor is its file."""
    import gc
    import weakref

    from convlast.conversion.file import FileConversion

    open_as_ever, opened = FileConversion.open, list[weakref.ref[Any]]()
    sources: list[Path] = []

    def open_alone(job: FileConversion) -> Any:
        assert not any(reference() for reference in opened)
        assert not any(source.exists() for source in sources)
        checkpoint = open_as_ever(job)
        opened.append(weakref.ref(checkpoint))
        sources.append(job.source.path)
        return checkpoint

    monkeypatch.setattr(FileConversion, "open", open_alone)
    gc.disable()
    try:
        convlast.convert(building.packed_tar_gz(folder), tmp_path / "out.tar", QUIET)
    finally:
        gc.enable()
    assert len(opened) == 5


@pytest.mark.shared
def test_real_checkpoints_in_one_folder(shared_checkpoints: Path, tmp_path: Path) -> None:
    """Whatever their names say, and beside files that are none of ours; verified as a whole."""
    folder = tmp_path / "model"
    folder.mkdir()
    for path in shared_checkpoints.iterdir():
        shutil.copyfile(path, folder / path.name)
    report = convlast.convert(building.packed_tar(folder), tmp_path / "out.tar", QUIET)
    sections = {section.path: section for section in report.files}
    assert sections["mvsnerf.tar"].input.container == "torch"
    assert sections["lua_torch.t7"].role == "other"
    closed = [found.file for found in report.findings if found.code == "program-not-opened"]
    assert closed == ["gnina_default2017_torchscript.pt"]
    nothing = [found.file for found in report.findings if found.code == "no-conv3d-weights"]
    assert nothing == ["topaz_2d_only.sav"]
    assert sum(layer.status == "converted" for layer in report.layers) > 150
    assert convlast.verify(folder, tmp_path / "out.tar").verdict == "passed"
