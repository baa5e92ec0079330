"""An output that is there already: one rule for files and folders, and for a service."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import convlast
from convlast.cli import app
from convlast.places import workplace
from convlast.report import Report
from tests import builders
from tests.convlast.folders import building


def run(*arguments: object) -> Result:
    """Run the command line; an exception that it lets through fails the test."""
    words = [*map(str, arguments), "--smoke=none"]
    return CliRunner().invoke(app, words, catch_exceptions=False)


def a_file(folder: Path) -> tuple[Path, Path]:
    """Write a checkpoint; return it, and where its artifact goes by itself."""
    source = builders.save(builders.a_model().state_dict(), folder / "model.pt")
    return source, folder / "model.channels_last_3d.pt"


def a_folder(folder: Path) -> tuple[Path, Path]:
    """Write a model folder."""
    source = building.model_folder(folder / "model")
    return source, folder / "model.channels_last_3d"


def an_archive(folder: Path) -> tuple[Path, Path]:
    """Write an archive of a model folder."""
    source = building.packed_zip(building.model_folder(folder / "model"))
    return source, folder / "model.channels_last_3d.zip"


def an_index(folder: Path) -> tuple[Path, Path]:
    """Write an index with its shards."""
    source = building.sharded(folder / "shards")
    return source, source.parent / "m.channels_last_3d"


MADE = pytest.mark.parametrize("make", [a_file, a_folder, an_archive, an_index])
Make = Callable[[Path], tuple[Path, Path]]


def state_of(path: Path) -> object:
    """Return what a file holds, or each file of a folder."""
    return building.files_in(path) if path.is_dir() else path.read_bytes()


@MADE
@pytest.mark.parametrize("is_named", [False, True])
def test_what_is_there_is_replaced_by_force_alone(
    make: Make, is_named: bool, tmp_path: Path
) -> None:
    """Without --force nothing is done, and nothing of the old output is touched."""
    source, place = make(tmp_path)
    named = ["-o", place] if is_named else []
    assert run("convert", source, *named).exit_code == 0
    made = state_of(place)
    if place.is_file():
        place.write_bytes(b"other")
    else:
        next(place.rglob("*.json")).write_text("{}")
    before = state_of(place)

    result = run("convert", source, *named)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        f"convlast: invalid-option: {str(place)!r} is there already.\n"
        "  --force replaces it; -o names another place.\n"
    )
    assert state_of(place) == before

    assert run("convert", source, *named, "--force").exit_code == 0
    assert state_of(place) == made


def test_a_file_in_a_folder_that_is_named_is_not_replaced(tmp_path: Path) -> None:
    """The rule holds for the name that the artifact gets in the folder."""
    source, _ = a_file(tmp_path)
    (tmp_path / "out").mkdir()
    assert run("convert", source, "-o", tmp_path / "out").exit_code == 0
    assert run("convert", source, "-o", tmp_path / "out").exit_code == 2
    assert run("convert", source, "-o", tmp_path / "out", "--force").exit_code == 0


def test_a_service_is_not_asked_where_the_output_is_there(tmp_path: Path) -> None:
    """The check comes before the upload; with --force the service is asked."""
    source, place = a_file(tmp_path)
    place.write_bytes(b"other")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        server = ["--server", f"http://127.0.0.1:{closed.getsockname()[1]}"]
        assert run("convert", source, *server).exit_code == 2
        assert run("convert", source, "-o", place, *server).exit_code == 2
    assert place.read_bytes() == b"other"


def test_another_folder_is_never_replaced(tmp_path: Path) -> None:
    """A folder in which no file was converted, or with a file that the input has not, stays."""
    source, place = a_folder(tmp_path)
    place.mkdir()
    (place / "config.json").write_text("{}")
    result = run("convert", source, "--force")
    assert result.exit_code == 2
    assert "no file in it says that convlast converted it" in result.stderr
    assert building.files_in(place) == {"config.json": b"{}"}

    (place / "config.json").unlink()
    assert run("convert", source).exit_code == 0
    (place / "notes").mkdir()
    (place / "notes" / "diary.txt").write_text("dear")
    before = building.files_in(place)
    result = run("convert", source, "--force")
    assert result.exit_code == 2
    assert "it also has 'notes/diary.txt', which the input has not" in result.stderr
    assert building.files_in(place) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", place.name]


def test_a_file_stays_where_a_folder_is_to_be_made(tmp_path: Path) -> None:
    """No folder takes the place of a file."""
    source, place = a_folder(tmp_path)
    place.write_bytes(b"mine")
    result = run("convert", source, "--force")
    assert result.exit_code == 2
    assert "is a file, where a folder is to be made" in result.stderr
    assert place.read_bytes() == b"mine"


def test_an_empty_folder_is_no_output(tmp_path: Path) -> None:
    """An empty folder is filled without --force."""
    source, place = a_folder(tmp_path)
    place.mkdir()
    assert run("convert", source).exit_code == 0


def test_a_failure_leaves_the_old_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the new folder cannot be moved to its place, or the work fails, the old one is there."""
    source, place = a_folder(tmp_path)
    assert run("convert", source).exit_code == 0
    before = building.files_in(place)
    move = Path.rename

    def stuck(self: Path, target: Path) -> Path:
        if self.name == "made":
            raise KeyboardInterrupt
        return move(self, target)

    monkeypatch.setattr(workplace, "_exchanged", lambda *_: False)
    monkeypatch.setattr(Path, "rename", stuck)
    assert run("convert", source, "--force").exit_code == 130
    assert building.files_in(place) == before
    monkeypatch.undo()
    (source / "checkpoint_final.pth").write_bytes(b"PK\3\4")
    assert run("convert", source, "--force", "--on-unreadable=reject").exit_code == 1
    assert building.files_in(place) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", place.name]


def test_the_library_replaces_files_and_folders_that_it_may(tmp_path: Path) -> None:
    """A file is always replaced, a folder only with overwrite=True."""
    source, place = a_folder(tmp_path)
    options = convlast.Options(smoke="none")
    convlast.convert(source, place, options)
    with pytest.raises(convlast.ConvlastError, match="overwrite=True"):
        convlast.convert(source, place, options)
    convlast.convert(source, place, options, overwrite=True)
    single = tmp_path / "model" / "checkpoint_final.pth"
    for _ in range(2):
        convlast.convert(single, tmp_path / "one.pt", options)


def test_the_library_takes_a_folder_for_a_file(tmp_path: Path) -> None:
    """The artifact gets the name of the library's choice, which the report tells."""
    source, _ = a_file(tmp_path)
    (tmp_path / "out").mkdir()
    report: Report = convlast.convert(source, f"{tmp_path}/out/", convlast.Options(smoke="none"))
    assert report.artifact is not None
    assert report.artifact.filename == "model.channels_last_3d.pt"
    assert [path.name for path in (tmp_path / "out").iterdir()] == [report.artifact.filename]
    with pytest.raises(convlast.ConvlastError, match=r"There is no folder '.*absent/'"):
        convlast.convert(source, f"{tmp_path}/absent/")
    assert not (tmp_path / "absent").exists()
