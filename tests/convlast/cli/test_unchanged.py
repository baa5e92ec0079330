"""A conversion that would change nothing is nothing to do."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

import convlast
from convlast import inspection
from convlast.cli import app
from convlast.errors import StorageFullError
from convlast.inspection import inspect_if_unchanged
from convlast.options import Options
from convlast.report import Report
from tests import builders
from tests.convlast.folders import building

QUIET = Options(smoke="none")


def run(*arguments: object) -> Result:
    """Run the command line; an exception that it lets through fails the test."""
    return CliRunner().invoke(app, [str(word) for word in arguments], catch_exceptions=False)


def a_file(folder: Path) -> Path:
    """Write a checkpoint, and convert it; what is left is named for its layout."""
    source = builders.save(builders.a_model().state_dict(), folder / "source.pt")
    made = folder / "m.channels_last_3d.pt"
    convlast.convert(source, made, QUIET)
    source.unlink()
    return made


def another_name(folder: Path) -> Path:
    """Write a converted file under a name that does not say so."""
    return a_file(folder).rename(folder / "m.pt")


def a_link(folder: Path) -> Path:
    """Write a link to a converted file."""
    link = folder / "link.pt"
    link.symlink_to(a_file(folder).name)
    return link


def a_folder(folder: Path) -> Path:
    """Write a converted model folder."""
    source = building.model_folder(folder / "source")
    (source / "old.pth").unlink()  # a legacy file is written anew, as a zip
    made = folder / "m.channels_last_3d"
    convlast.convert(source, made, QUIET)
    convlast.convert(made, folder / "twice", QUIET)
    for each in (source, folder / "twice"):
        shutil.rmtree(each)
    return made


def an_archive(folder: Path) -> Path:
    """Write an archive of a converted model folder."""
    made = a_folder(folder)
    packed = building.packed_tar(made)
    shutil.rmtree(made)
    return packed.rename(folder / "m.channels_last_3d.tar")


def an_index(folder: Path) -> Path:
    """Write a sharded checkpoint, converted."""
    convlast.convert(building.sharded(folder / "source"), folder / "made", QUIET)
    shutil.rmtree(folder / "source")
    return folder / "made" / "m.safetensors.index.json"


MADE = pytest.mark.parametrize(
    "make", [a_file, another_name, a_link, a_folder, an_archive, an_index]
)


@MADE
def test_there_is_nothing_to_do_for_what_is_converted(
    make: Callable[[Path], Path], tmp_path: Path
) -> None:
    """Nothing is written, the status is 0, and a report is given where one is asked for."""
    source = make(tmp_path)
    before = building.files_in(tmp_path)
    result = run("convert", source)
    assert result.exit_code == 0, result.stderr
    assert " ".join(result.stdout.split()).startswith(
        "Nothing to do: a conversion to channels_last_3d would change nothing in "
        f"'{source.name}'. Nothing was written"
    )
    assert building.files_in(tmp_path) == before
    assert run("convert", source, "-q").stdout == ""

    result = run("convert", source, "--json", "--report", tmp_path / "r.json")
    report = Report.model_validate_json(result.stdout)
    assert result.exit_code == 0
    assert report == Report.model_validate_json((tmp_path / "r.json").read_bytes())
    assert report.artifact is None
    assert "nothing-to-change" in {found.code for found in report.findings}
    assert {layer.status for layer in report.layers} == {"already"}


def test_nothing_is_to_be_undone_in_a_contiguous_file(tmp_path: Path) -> None:
    """The rule holds in both directions, and for a selection."""
    source = builders.save(builders.a_model().state_dict(), tmp_path / "m.pt")
    result = run("convert", source, "--memory-format=contiguous_format")
    assert (result.exit_code, "Nothing to do" in result.stdout) == (0, True)
    assert run("convert", source, "--select=2.weight", "--smoke=none").exit_code == 0
    made = tmp_path / "m.channels_last_3d.pt"
    assert "Nothing to do" in run("convert", made, "--select=2.weight").stdout
    assert run("convert", made, "--select=absent").exit_code == 2


@MADE
def test_a_copy_is_written_where_one_is_named(make: Callable[[Path], Path], tmp_path: Path) -> None:
    """With -o the copy is written and tested as ever, and said to be one."""
    source = make(tmp_path)
    (tmp_path / "out").mkdir()
    target = tmp_path / "out" / "copy"
    result = run("convert", source, "-o", target, "--smoke=none")
    assert result.exit_code == 0, result.stderr
    assert "nothing had to change: copy is a copy" in " ".join(result.stdout.split())
    if source.is_file() and make is not an_index:
        assert make is an_archive or target.read_bytes() == source.read_bytes()


@pytest.mark.parametrize("make", [a_file, a_link, a_folder, an_archive])
def test_the_input_is_never_replaced(make: Callable[[Path], Path], tmp_path: Path) -> None:
    """A file that is only named as if it was converted needs -o, which may not name the input."""
    source = make(tmp_path)
    if make is a_folder:
        builders.save(builders.a_model().state_dict(), source / "checkpoint_final.pth")
    elif make is an_archive:
        (tmp_path / "more").mkdir()
        folder = building.model_folder(tmp_path / "more" / "m.channels_last_3d")
        building.packed_tar(folder).rename(source)
        shutil.rmtree(tmp_path / "more")
    else:
        builders.save(builders.a_model().state_dict(), source)
    if make is a_link:  # what a conversion would write is a link to the input
        (tmp_path / "link.channels_last_3d.pt").symlink_to(source.resolve())
    before = building.files_in(tmp_path)
    for force in ([], ["--force"]):
        result = run("convert", source, *force)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "The artifact would replace the input, '" in result.stderr
        assert result.stderr.endswith("  Give the artifact another name: -o OUT.\n")
        result = run("convert", source, "-o", source, *force)
        assert (result.exit_code, "this is the input" in result.stderr) == (2, True)
    assert building.files_in(tmp_path) == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--max-error=1"], "The artifact would replace the input, '"),
        (["--statement=s.json"], "The artifact would replace the input, '"),
        (["--min-speedup=1.1", "--device=cpu"], "Times on a CPU say nothing about a GPU"),
        (["--select=fastest", "--device=cpu"], "Times on a CPU say nothing about a GPU"),
    ],
)
def test_work_on_what_is_converted_needs_a_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    """Nothing is said to change that would not; what can never be comes before the place."""
    monkeypatch.chdir(tmp_path)
    result = run("convert", a_file(tmp_path), *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert "would change" not in result.stderr


@pytest.mark.parametrize(
    "options",
    [
        Options(dtype="float16"),
        Options(container="safetensors"),
        Options(select=("fastest",)),
        Options(min_speedup=1.1),
        Options(select=("absent",)),
    ],
)
def test_what_changes_or_is_measured_or_refused_is_work(options: Options, tmp_path: Path) -> None:
    """Only the conversion itself can do that, or say what is wrong with it."""
    source = a_file(tmp_path)
    assert inspect_if_unchanged(source, QUIET) is not None
    assert inspect_if_unchanged(source, options) is None


def test_a_cast_that_was_done_is_not_done_again(tmp_path: Path) -> None:
    """A file that is all in fp16 would not change by another cast."""
    source = builders.save({"0.weight": torch.ones(4, 2, 3, 3, 3)}, tmp_path / "m.pt")
    half = Options(smoke="none", dtype="float16")
    assert inspect_if_unchanged(source, half) is None
    convlast.convert(source, tmp_path / "half.pt", half)
    assert inspect_if_unchanged(tmp_path / "half.pt", half) is not None


def test_a_compressed_tar_is_work(tmp_path: Path) -> None:
    """It would become a tar that is not compressed."""
    folder = a_folder(tmp_path)
    assert inspect_if_unchanged(building.packed_tar_gz(folder), QUIET) is None


def test_a_full_temporary_folder_is_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A conversion unpacks beside its target, where there may be room."""
    source = an_archive(tmp_path)

    def full() -> None:
        raise StorageFullError("The file system is full.")

    monkeypatch.setattr(inspection, "temporary_folder", full)
    assert inspect_if_unchanged(source, QUIET) is None


def test_what_cannot_be_opened_is_work(tmp_path: Path) -> None:
    """The conversion says what is wrong with a file, or passes one in a folder on."""
    (tmp_path / "m.pt").write_bytes(b"PK\3\4")
    assert inspect_if_unchanged(tmp_path / "m.pt", QUIET) is None
    (tmp_path / "in").mkdir()
    folder = a_folder(tmp_path / "in")
    (folder / "bad.pt").write_bytes(b"PK\3\4")
    assert inspect_if_unchanged(folder, QUIET) is not None
    strict = Options(on_unreadable="reject")
    assert inspect_if_unchanged(folder, strict) is None
