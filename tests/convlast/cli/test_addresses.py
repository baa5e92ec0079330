"""Objects in stores on the command line; the store is a folder of this machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from convlast.cli import app
from convlast.report import Report
from tests import builders
from tests.convlast.folders import building


def run(*arguments: object) -> Result:
    """Run a command to its end."""
    return CliRunner().invoke(app, [str(word) for word in arguments], catch_exceptions=False)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """The folder that is the store, with a checkpoint in it."""
    folder = tmp_path / "store"
    folder.mkdir()
    builders.save(builders.one_convolution(), folder / "model.pt")
    return folder


@pytest.fixture
def source(store: Path) -> str:
    """The address of the checkpoint."""
    return (store / "model.pt").as_uri()


@pytest.fixture
def target(store: Path) -> str:
    """The address of the folder for artifacts."""
    return f"{store.as_uri()}/made/"


def test_convert_puts_the_artifact_where_it_says(store: Path, source: str, target: str) -> None:
    """The report names the artifact by its address, and lies beside it."""
    result = run("convert", source, "-o", target, "--smoke=none")
    assert result.exit_code == 0, result.stderr
    assert f"{target}model.channels_last_3d.pt" in result.stdout.replace("\n", "")
    assert {path.name for path in (store / "made").iterdir()} == {
        "model.channels_last_3d.pt",
        "model.channels_last_3d.report.html",
        "model.channels_last_3d.report.json",
        "model.channels_last_3d.sha256",
    }


def test_convert_prints_what_lies_beside_the_artifact(
    store: Path, source: str, target: str
) -> None:
    """--json is the report that is in the store."""
    result = run("convert", source, "-o", target, "--smoke=none", "--json", "-q")
    there = store / "made" / "model.channels_last_3d.report.json"
    assert json.loads(result.stdout) == json.loads(there.read_text())


def test_convert_from_a_store_to_this_machine(source: str, tmp_path: Path) -> None:
    """-o may name a place of this machine, where a file is not replaced without --force."""
    made = tmp_path / "made.pt"
    assert run("convert", source, "-o", made, "--smoke=none").exit_code == 0
    again = run("convert", source, "-o", made, "--smoke=none")
    assert (again.exit_code, "--force" in again.stderr) == (2, True)
    assert run("convert", source, "-o", made, "--smoke=none", "--force").exit_code == 0


def test_convert_does_not_guess_a_place(source: str) -> None:
    """Without -o nothing is written to a store, nor to the folder that one happens to be in."""
    result = run("convert", source)
    assert result.exit_code == 2
    assert "-o OUT" in result.stderr


def test_inspect_verify_and_report_read_from_a_store(store: Path, source: str, target: str) -> None:
    """Each verb takes an address where it takes a path."""
    assert run("convert", source, "-o", target, "--smoke=none").exit_code == 0
    made = f"{target}model.channels_last_3d.pt"
    inspected = run("inspect", source, "--json")
    report = Report.model_validate_json(inspected.stdout)
    assert (inspected.exit_code, report.input.filename) == (0, "model.pt")
    verified = run("verify", source, made)
    assert verified.exit_code == 0, verified.stderr
    manifest = run("report", made)
    assert (manifest.exit_code, "channels_last_3d" in manifest.stdout) == (0, True)


def test_a_model_folder_in_a_store(store: Path, target: str) -> None:
    """The prefix of a model folder is converted, verified and reported as a folder is."""
    given = f"{building.model_folder(store / 'vae').as_uri()}/"
    made = f"{target}vae/"
    result = run("convert", given, "-o", made, "--smoke=none")
    assert result.exit_code == 0, result.stderr
    assert (store / "made" / "vae.report.json").is_file()
    assert run("verify", given, made).exit_code == 0
    assert run("report", made).exit_code == 0


@pytest.mark.parametrize("command", [["inspect"], ["report"], ["convert", "-o", "made.pt"]])
def test_what_is_not_there_is_named(store: Path, command: list[str], tmp_path: Path) -> None:
    """The code is that of the error, and the message has the address."""
    result = run(*command, f"{store.as_uri()}/absent.pt")
    assert result.exit_code == 1
    assert result.stderr.startswith("convlast: source-not-found:")
    assert "absent.pt" in result.stderr


def test_an_address_of_no_known_kind_is_named() -> None:
    """A misspelt scheme is no path."""
    result = run("inspect", "s4://bucket/model.pt")
    assert result.stderr.startswith("convlast: invalid-address:")
    assert "s3://" in result.stderr


def test_a_report_of_this_machine_is_written_too(source: str, target: str, tmp_path: Path) -> None:
    """--report is a file here, and its kind is refused before anything is fetched."""
    file = tmp_path / "report.html"
    assert run("convert", source, "-o", target, "--smoke=none", "--report", file).exit_code == 0
    assert file.is_file()
    result = run("inspect", source, "--report", tmp_path / "report.txt")
    assert result.exit_code == 2


def test_nothing_of_a_signature_is_printed(store: Path) -> None:
    """A presigned address is shown without its query."""
    result = run("convert", "https://127.0.0.1:9/model.pt?signature=secret")
    assert "secret" not in result.output
