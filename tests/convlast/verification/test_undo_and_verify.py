"""Every container: converted, verified, undone; and each other difference is found."""

from __future__ import annotations

import io
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import convlast
from convlast.errors import ProgramNotAllowedError
from convlast.options import Options
from convlast.report import Report
from tests import builders
from tests.convlast.folders import building

pytestmark = pytest.mark.filterwarnings("ignore")  # torch.jit is deprecated, and says so

QUIET = Options(smoke="none")
UNDO = Options(smoke="none", memory_format="contiguous_format")
jit: Any = torch.jit  # whose functions are not annotated


def in_part_channels_last() -> dict[str, Tensor]:
    """Return weights of which one has its layout already: an undo must not take it away."""
    tensors = building.weights()
    tensors["1.weight"] = tensors["1.weight"].to(memory_format=torch.channels_last_3d)
    return tensors


def save_script(path: Path) -> Path:
    """Write a TorchScript archive."""
    jit.save(jit.script(building.network().eval()), path)
    return path


def save_program(path: Path) -> Path:
    """Write an ExportedProgram with its example inputs."""
    program = torch.export.export(building.network().eval(), (torch.ones(2, 3, 6, 6, 6),))
    torch.export.save(program, path)
    return path


def save_module(path: Path) -> Path:
    """Write a whole module of `torch.nn`."""
    torch.save(building.network(), path)
    return path


FILES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "torch": (lambda path: builders.save(in_part_channels_last(), path), ".pt"),
    "torch in a wrapper": (
        lambda path: builders.save({"a": [building.weights()], "b": 1}, path), ".pth",
    ),
    "torch legacy": (lambda path: builders.save_legacy(in_part_channels_last(), path), ".pt"),
    "a module": (save_module, ".pt"),
    "safetensors": (
        lambda path: builders.save_safetensors(building.weights(), path), ".safetensors",
    ),
    "torchscript": (save_script, ".ts"),
    "exported program": (save_program, ".pt2"),
}  # fmt: skip


def strides_of(path: Path) -> dict[str, tuple[tuple[int, ...], list[int]]]:
    """Return strides and values of all tensors, by PyTorch's own loader."""
    loaders: dict[str, Callable[[], Any]] = {
        ".ts": lambda: jit.load(path),
        ".pt2": lambda: dict(torch.export.load(path).state_dict),
        ".safetensors": lambda: load_file(path),
    }
    loaded = loaders.get(path.suffix, lambda: torch.load(path, weights_only=False))()
    return {
        name: (tensor.stride(), tensor.detach().flatten().tolist())
        for name, tensor in tensors_in(loaded, "")
    }


def tensors_in(value: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    """Yield all tensors below an object, by their dotted paths."""
    if isinstance(value, nn.Module):
        value = value.state_dict()
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, dict | list):
        for key, child in value.items() if isinstance(value, dict) else enumerate(value):
            yield from tensors_in(child, f"{name}.{key}")


@pytest.mark.parametrize("kind", FILES)
def test_a_file_is_converted_verified_and_undone(kind: str, tmp_path: Path) -> None:
    """Verify lists each new stride; after the undo, every stride and value is the original's."""
    save, extension = FILES[kind]
    source = save(tmp_path / f"source{extension}")
    options = {"container": "safetensors"} if kind == "safetensors" else {}
    target, undone = tmp_path / f"target{extension}", tmp_path / f"undone{extension}"
    made = convlast.convert(source, target, QUIET.model_copy(update=options), allow_programs=True)
    report = convlast.verify(source, target, allow_programs=True)
    assert report.verdict == "passed", report.findings
    assert [(layer.name, layer.stride_after) for layer in report.layers] == [
        (layer.name, layer.stride_after) for layer in made.layers
    ]
    assert "converted" in {layer.status for layer in report.layers}

    convlast.convert(target, undone, UNDO.model_copy(update=options), allow_programs=True)
    assert strides_of(undone) == strides_of(source)
    assert strides_of(target) != strides_of(source) or kind == "safetensors"
    report = convlast.verify(source, undone, allow_programs=True)
    assert report.verdict == "passed", report.findings
    assert "converted" not in {layer.status for layer in report.layers}


def test_a_safetensors_file_becomes_torch_and_is_undone(tmp_path: Path) -> None:
    """The default for that container: a torch file, whose strides are then the original's."""
    source = builders.save_safetensors(building.weights(), tmp_path / "source.safetensors")
    convlast.convert(source, tmp_path / "target.pt", QUIET)
    assert convlast.verify(source, tmp_path / "target.pt").verdict == "passed"
    convlast.convert(tmp_path / "target.pt", tmp_path / "undone.pt", UNDO)
    assert strides_of(tmp_path / "undone.pt") == strides_of(source)


@pytest.mark.parametrize("before", ["folder", *building.PACKED])
@pytest.mark.parametrize("after", ["folder", *building.PACKED])
def test_a_folder_is_verified_packed_or_not(before: str, after: str, tmp_path: Path) -> None:
    """What was sent as a zip may be compared with what was unpacked, and the other way round."""
    folder = building.model_folder(tmp_path / "model")
    convlast.convert(folder, tmp_path / "out", QUIET)
    packed = {"folder": lambda path: path, **building.PACKED, "tar.gz": building.packed_tar}
    report = convlast.verify(packed[before](folder), packed[after](tmp_path / "out"))
    assert report.verdict == "passed", report.findings
    assert {layer.status for layer in report.layers} == {"converted"}
    assert report.artifact is not None
    assert len(report.files) == 9


def test_an_index_is_verified(tmp_path: Path) -> None:
    """Against the folder that was made of it, or the index in that."""
    index = building.sharded(tmp_path / "in")
    convlast.convert(index, tmp_path / "out", QUIET)
    for made in (tmp_path / "out", tmp_path / "out" / index.name):
        assert convlast.verify(index, made).verdict == "passed"


def rewritten(path: Path, change: Callable[[str, bytes], bytes | None]) -> None:
    """Change members of a zip file, the rest as it was."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(buffer, "w") as new:
        for entry in old.infolist():
            data = change(entry.filename.partition("/")[2], old.read(entry))
            if data is not None:
                new.writestr(zipfile.ZipInfo(entry.filename), data, entry.compress_type)
    path.write_bytes(buffer.getvalue())


def codes_of(report: Report) -> set[tuple[str, str | None]]:
    """Return the errors of a report."""
    return {(found.code, found.layer) for found in report.findings if found.severity == "error"}


CODE = {
    "torchscript": ("code/__torch__/", b"input", b"inpuT"),
    "exported program": ("models/model.json", b"aten.conv3d.default", b"aten.conv3d.padding"),
}
"""Where the code is, and a change of it. TorchScript's names depend on what was compiled before."""


@pytest.mark.parametrize("kind", CODE)
def test_another_code_is_not_the_same_program(kind: str, tmp_path: Path) -> None:
    """A record that is changed, added or gone is a difference, though all tensors agree."""
    save, extension = FILES[kind]
    source, target = save(tmp_path / f"s{extension}"), tmp_path / f"t{extension}"
    convlast.convert(source, target, QUIET, allow_programs=True)
    whole = target.read_bytes()
    name, old, new = CODE[kind]
    changes: list[Callable[[str, bytes], bytes | None]] = [
        lambda member, data: data.replace(old, new) if member.startswith(name) else data,
        lambda member, data: None if member == "byteorder" else data,
    ]
    for change in changes:
        target.write_bytes(whole)
        rewritten(target, change)
        report = convlast.verify(source, target, allow_programs=True)
        assert {code for code, _ in codes_of(report)} == {"structure-changed"}


def test_another_record_in_a_torch_file_is_found(tmp_path: Path) -> None:
    """What stands beside the pickle is carried over, and so compared."""
    source = builders.save(building.weights(), tmp_path / "s.pt")
    with zipfile.ZipFile(source, "a") as archive:
        archive.writestr("s/extra/note.txt", "kept")
    convlast.convert(source, tmp_path / "t.pt", QUIET)
    assert convlast.verify(source, tmp_path / "t.pt").verdict == "passed"
    rewritten(tmp_path / "t.pt", lambda name, data: b"other" if name == "extra/note.txt" else data)
    found = codes_of(convlast.verify(source, tmp_path / "t.pt"))
    assert found == {("structure-changed", "extra/note.txt")}


def test_other_metadata_in_a_safetensors_file_is_found(tmp_path: Path) -> None:
    """Except the manifest, and the entry by which the format says who wrote it."""
    source = builders.save_safetensors(building.weights(), tmp_path / "s.safetensors", note="kept")
    target, options = tmp_path / "t.safetensors", Options(smoke="none", container="safetensors")
    convlast.convert(source, target, options)
    assert convlast.verify(source, target).verdict == "passed"
    builders.save_safetensors(building.weights(), source, note="other")
    assert codes_of(convlast.verify(source, target)) == {("structure-changed", "note")}


TEXT = "text.safetensors"
DIFFERENCES: dict[str, tuple[Callable[[Path], object], str, str | None]] = {
    "a changed file": (
        lambda folder: (folder / "config.json").write_text("{}"), "file-changed", "config.json",
    ),
    "a missing file": (
        lambda folder: (folder / "vae/progress.png").unlink(), "file-missing", "vae/progress.png",
    ),
    "a missing checkpoint": (
        lambda folder: (folder / "old.pth").unlink(), "file-missing", "old.pth",
    ),
    "a file too many": (lambda folder: (folder / "new").write_text("x"), "file-added", None),
    "a changed weight": (
        lambda folder: builders.save(building.weights(9), folder / "old.pth"),
        "values-changed", "old.pth",
    ),
    "a changed checkpoint without convolutions": (
        lambda folder: builders.save_safetensors({"x": torch.ones(2)}, folder / TEXT),
        "file-changed", TEXT,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", DIFFERENCES)
def test_any_other_difference_of_a_folder_is_found(case: str, tmp_path: Path) -> None:
    """It fails the verdict, and names the file."""
    change, code, file = DIFFERENCES[case]
    folder = building.model_folder(tmp_path / "model")
    convlast.convert(folder, tmp_path / "out", QUIET)
    change(tmp_path / "out")
    report = convlast.verify(folder, tmp_path / "out")
    assert report.verdict == "failed"
    errors = {(found.code, found.file) for found in report.findings if found.severity == "error"}
    assert errors == {(code, file)}


def test_programs_in_a_folder_are_compared_where_they_are_allowed(tmp_path: Path) -> None:
    """Closed, they must be the same bytes; converted, they have to be opened to be verified."""
    folder = building.model_folder(tmp_path / "model")
    save_script(folder / "model.ts")
    convlast.convert(folder, tmp_path / "closed", QUIET)
    assert convlast.verify(folder, tmp_path / "closed").verdict == "passed"
    convlast.convert(folder, tmp_path / "open", QUIET, allow_programs=True)
    assert convlast.verify(folder, tmp_path / "open", allow_programs=True).verdict == "passed"
    with pytest.raises(ProgramNotAllowedError, match=r"'model\.ts'"):
        convlast.verify(folder, tmp_path / "open")


def test_verify_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was unpacked on the way is gone."""
    import tempfile

    folder = building.model_folder(tmp_path / "model")
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    archive = building.packed_tar_gz(folder)
    shutil.rmtree(folder)
    convlast.convert(archive, tmp_path / "out.tar", QUIET)
    convlast.verify(archive, tmp_path / "out.tar")
    convlast.inspect(archive)
    assert list((tmp_path / "tmp").iterdir()) == []


def test_two_tensors_on_one_storage_are_both_compared(tmp_path: Path) -> None:
    """Where the other file, which knows no aliases, has two copies, either may be another one."""
    weight, table = torch.randn(4, 2, 3, 3, 3), torch.randn(8)
    original, other = tmp_path / "original.pt", tmp_path / "other.safetensors"
    save_file({"conv.weight": weight, "a": table, "b": table.clone()}, other)
    tensors = {"conv.weight": weight, "a": table, "b": table}
    torch.save({name: tensors[name] for name in load_file(other)}, original)
    assert convlast.verify(original, other).verdict != "failed"
    save_file({"conv.weight": weight, "a": table, "b": torch.zeros(8)}, other)
    assert convlast.verify(original, other).verdict == "failed"


@pytest.mark.parametrize("extension", [".pt", ".safetensors"])
def test_weights_that_came_in_an_order_of_their_own_are_verified(
    tmp_path: Path, extension: str
) -> None:
    """JAX's are permuted: what is not selected keeps that order, and an undo gives it back."""
    order = torch.zeros(3, 3, 3, 3, 4).permute(4, 3, 0, 1, 2)
    tensors = {"a.weight": order, "a.bias": torch.zeros(4), "b.weight": order + 1}
    paths = [builders.save(tensors | {"b.bias": torch.zeros(4)}, tmp_path / "0.pt")]
    container: Any = "safetensors" if extension == ".safetensors" else "torch"
    for options in (
        QUIET.model_copy(update={"select": ("b.*",), "container": container}),
        QUIET.model_copy(update={"select": ("b.*",), "container": "torch"}),
        UNDO,
    ):
        end = ".pt" if options.container != "safetensors" else extension
        paths.append(tmp_path / f"{len(paths)}{end}")
        convlast.convert(paths[-2], paths[-1], options)
        assert convlast.verify(paths[-2], paths[-1]).verdict == "passed"
    assert torch.load(paths[-1])["b.weight"].stride() == order.stride()


@pytest.fixture
def cast(tmp_path: Path) -> tuple[Path, Path]:
    """Convert a checkpoint of several dtypes, and cast it."""
    source, target = tmp_path / "source.pt", tmp_path / "target.pt"
    root = building.weights() | {"scale": torch.tensor([1.0, 65_504.0, 1e-9], dtype=torch.float64)}
    builders.save(root | {"steps": torch.arange(3)}, source)
    convlast.convert(source, target, Options(smoke="none", dtype="float16"))
    return source, target


def test_a_cast_artifact_is_verified(cast: tuple[Path, Path]) -> None:
    """It says that it was cast, also after it was converted again, and is the cast of what was."""
    source, target = cast
    report = convlast.verify(source, target)
    assert report.verdict != "failed", report.findings
    assert report.proof is not None
    assert report.proof.values == "cast"
    undone = target.with_name("undone.pt")
    convlast.convert(target, undone, UNDO)
    assert convlast.verify(source, undone).verdict != "failed"
    assert (report := convlast.verify(target, undone)).verdict != "failed"
    assert report.proof is not None
    assert report.proof.values == "identical"


@pytest.mark.parametrize("key", ["0.weight", "scale", "steps"])
def test_a_cast_artifact_with_another_value_is_found(key: str, cast: tuple[Path, Path]) -> None:
    """The last bit of what was cast counts, and of what was not."""
    source, target = cast
    with zipfile.ZipFile(target) as archive:
        note = archive.read("source/extra/convlast.json")
    root = torch.load(target)
    bits = root[key].view(torch.int16) if root[key].is_floating_point() else root[key]
    bits[-1].bitwise_xor_(1)
    torch.save(root, target)
    with zipfile.ZipFile(target, "a") as archive:
        archive.writestr(zipfile.ZipInfo("target/extra/convlast.json"), note)
    report = convlast.verify(source, target)
    assert report.proof is not None
    assert (report.verdict, report.proof.values) == ("failed", "different"), report.findings


def test_a_cast_that_nobody_has_noted_is_found(cast: tuple[Path, Path]) -> None:
    """Without a word in the artifact another dtype is a difference."""
    source, target = cast
    torch.save(torch.load(target), target)
    report = convlast.verify(source, target)
    assert report.verdict == "failed"
    assert any("dtype changed" in finding.message for finding in report.findings)
