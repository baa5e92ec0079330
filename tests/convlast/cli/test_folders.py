"""Model folders on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import convlast
from convlast.cli import app
from convlast.options import Options
from convlast.report import Report
from tests.convlast.folders import building


def run(*arguments: object) -> Result:
    """Run a command to its end."""
    return CliRunner().invoke(app, [str(word) for word in arguments], catch_exceptions=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write a model folder."""
    return building.model_folder(tmp_path / "model")


def test_a_folder_is_converted_to_where_it_is_told(folder: Path, tmp_path: Path) -> None:
    """A folder is converted into a new or empty folder."""
    assert run("convert", folder, "-o", tmp_path / "out", "--smoke", "none").exit_code == 0
    assert building.files_in(tmp_path / "out").keys() == building.files_in(folder).keys()
    (tmp_path / "empty").mkdir()
    assert run("convert", folder, "-o", tmp_path / "empty", "--smoke", "none").exit_code == 0
    assert building.files_in(tmp_path / "empty") == building.files_in(tmp_path / "out")


def test_a_folder_is_converted_beside_itself(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder is converted beside itself, named after the layout, also if it is given as a dot."""
    monkeypatch.chdir(folder)
    result = run("convert", ".", "--smoke", "none", "--json")
    assert result.exit_code == 0, result.stderr
    report = Report.model_validate_json(result.stdout)
    assert report.input.filename == "model"
    assert report.artifact is not None
    assert report.artifact.filename == "model.channels_last_3d"
    assert (tmp_path / "model.channels_last_3d" / "config.json").is_file()


def test_an_index_and_an_archive_are_converted_beside_themselves(
    folder: Path, tmp_path: Path
) -> None:
    """An index and an archive are converted beside themselves, under the library's names."""
    index = building.sharded(tmp_path / "shards")
    archive = building.packed_zip(folder)
    for source in (index, archive):
        assert run("convert", source, "--smoke", "none").exit_code == 0
    assert (index.parent / "m.channels_last_3d" / index.name).is_file()
    assert archive.with_name("model.channels_last_3d.zip").is_file()


def test_a_folder_is_verified(folder: Path, tmp_path: Path) -> None:
    """A converted folder has status 0; another one has status 1, with the file's name."""
    convlast.convert(folder, tmp_path / "out", Options(smoke="none"))
    assert run("verify", folder, tmp_path / "out").exit_code == 0
    (tmp_path / "out" / "config.json").write_text("{}")
    result = run("verify", folder, tmp_path / "out")
    assert result.exit_code == 1
    assert "config.json" in result.stderr


def test_a_folder_is_inspected(folder: Path) -> None:
    """A folder is inspected with all its checkpoints."""
    result = run("inspect", folder)
    assert result.exit_code == 0
    assert "checkpoint_final.pth" in result.stdout
    assert "can be converted" in result.stdout


def test_the_manifests_of_a_folder_are_printed(folder: Path, tmp_path: Path) -> None:
    """The manifest of each converted file is printed, also in an archive; others have none."""
    convlast.convert(folder, tmp_path / "out", Options(smoke="none"))
    result = run("report", tmp_path / "out")
    assert result.exit_code == 0
    assert "old.pth" in result.stdout
    packed = run("report", building.packed_zip(tmp_path / "out"), "--json")
    assert len(json.loads(packed.stdout)["files"]) == 4
    none = run("report", folder)
    assert (none.exit_code, "no-manifest" in none.stderr) == (1, True)


def test_a_file_in_a_folder_is_named_in_the_refusal(folder: Path) -> None:
    """The file that was refused is named on stderr, with the code."""
    (folder / "vae" / "bad.pt").write_bytes(b"PK\3\4")
    result = run("convert", folder, "--on-unreadable", "reject")
    assert result.exit_code == 1
    assert "malformed-checkpoint: 'vae/bad.pt'" in result.stderr


def test_a_file_that_cannot_be_opened_is_named_in_a_warning(folder: Path, tmp_path: Path) -> None:
    """All commands take such a folder."""
    (folder / "vae" / "bad.pt").write_bytes(b"PK\3\4")
    result = run("convert", folder, "-o", tmp_path / "out", "--smoke", "none")
    assert result.exit_code == run("inspect", folder).exit_code == 0
    assert "vae/bad.pt" in result.stdout
    assert run("verify", folder, tmp_path / "out").exit_code == 0
    assert run("report", tmp_path / "out").exit_code == 0


def test_a_service_takes_no_folder(folder: Path) -> None:
    """A service takes one file, not a folder, and the message says what to do."""
    result = run("convert", folder, "--server", "http://127.0.0.1:9")
    assert result.exit_code == 2
    assert "Pack it" in result.stderr


def test_programs_are_verified_where_they_are_allowed(folder: Path, tmp_path: Path) -> None:
    """`verify` has the option to allow programs, as `convert` has."""
    from tests import builders

    source = builders.save_exported_program(tmp_path / "m.pt2")
    target = tmp_path / "c.pt2"
    assert run("convert", source, "-o", target, "--allow-programs").exit_code == 0
    assert run("verify", source, target).exit_code == 1
    assert run("verify", source, target, "--allow-programs").exit_code == 0
