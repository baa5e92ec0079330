"""A report whose file cannot be written is named, and there whole or not at all."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import convlast
from convlast.cli import app, outcome
from convlast.places import workplace
from convlast.report import Finding, Report
from tests import builders


def run(*arguments: object) -> Result:
    """Run the command line; an exception that it lets through fails the test."""
    return CliRunner().invoke(app, [str(word) for word in arguments], catch_exceptions=False)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A checkpoint."""
    (tmp_path / "models").mkdir()
    return builders.save(builders.a_model().state_dict(), tmp_path / "models" / "model.pt")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for the report."""
    path = tmp_path / "reports"
    path.mkdir()
    return path


def vanished(folder: Path, _: pytest.MonkeyPatch) -> str:
    """Take the folder away."""
    shutil.rmtree(folder)
    return f"There is no folder '{folder}'.\n"


def full(_: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let the file system be full."""
    monkeypatch.setattr(Path, "write_bytes", raising(errno.ENOSPC))
    return "The file system is full.\n  Free room for the file.\n"


def forbidden(_: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let the folder's owner change his mind."""
    monkeypatch.setattr(workplace, "temporary_tree", raising(errno.EACCES))
    return (
        f"Nothing can be written to the folder '{_}': Permission denied.\n"
        "  Name a place where you may write.\n"
    )


def broken(_: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let the disk fail."""
    monkeypatch.setattr(Path, "write_bytes", raising(errno.EIO))
    return "Input/output error.\n"


def raising(number: int) -> Callable[..., Any]:
    """Return what raises an error of the system."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


TROUBLE = pytest.mark.parametrize("trouble", [vanished, full, forbidden, broken])
Trouble = Callable[[Path, pytest.MonkeyPatch], str]


@TROUBLE
@pytest.mark.parametrize("name", ["r.json", "r.html"])
def test_a_report_that_cannot_be_written_is_named(
    source: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, trouble: Trouble, name: str
) -> None:
    """The message names file, reason and artifact; the report is printed, and nothing is half."""
    convert, reasons = convlast.convert, []

    def work(*arguments: Any, **settings: Any) -> Report:
        report = convert(*arguments, **settings)
        reasons.append(trouble(folder, monkeypatch))
        return report

    monkeypatch.setitem(vars(convlast), "convert", work)
    result = run("convert", source, "--smoke=none", "--report", folder / name)
    assert result.exit_code == 1
    assert result.stdout.startswith("✓ Passed: ")
    made = source.with_name("model.channels_last_3d.pt")
    assert made.is_file()
    assert result.stderr.endswith(
        f"convlast: report-not-written: There is no report '{folder / name}': {reasons[0]}"
        f"  The artifact is there: '{made}'.\n"
    )
    assert not folder.exists() or not list(folder.iterdir())


def test_a_file_may_not_grow(source: Path, folder: Path) -> None:
    """Where `ulimit -f` forbids it, no half report is left, and an older one stays as it was."""
    (folder / "r.json").write_text("old")
    words = ["inspect", str(source), "--json", "--report", str(folder / "r.json")]
    done = subprocess.run(
        [sys.executable, "-m", "convlast", *words],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)),
    )
    assert done.returncode == 1
    Report.model_validate_json(done.stdout)
    assert "No file may become this large here: see ulimit -f" in done.stderr
    assert "The artifact" not in done.stderr
    assert [path.read_text() for path in folder.iterdir()] == ["old"]


def test_a_full_stdout_leaves_the_artifact(
    source: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the report cannot be printed, its file is written, and the artifact is named."""
    monkeypatch.setattr(outcome, "show", raising(errno.ENOSPC))
    result = run("convert", source, "--smoke=none", "--report", folder / "r.json")
    assert result.exit_code == 1
    made = source.with_name("model.channels_last_3d.pt")
    assert result.stderr.endswith(
        f"convlast: storage-full: No space left on device.\n  The artifact is there: '{made}'.\n"
    )
    Report.model_validate_json((folder / "r.json").read_bytes())


def test_the_verdict_is_told_beside_it(
    source: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the proof fails too, both are said, the verdict last."""
    report = convlast.inspect(source)
    finding = Finding(code="strides-wrong", severity="error", message="Strides are wrong.")
    bad = report.model_copy(update={"verdict": "failed", "findings": [finding]})
    for answer in (bad, convlast.errors.VerificationError("The proof broke.", report=bad)):
        folder.mkdir(exist_ok=True)

        def work(*_: object, answer: object = answer, **__: object) -> object:
            vanished(folder, monkeypatch)
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setitem(vars(convlast), "convert", work)
        result = run("convert", source, "--report", folder / "r.json")
        assert result.exit_code == 1
        assert "report-not-written" in result.stderr
        last = result.stderr.splitlines()[-1]
        assert last.startswith("convlast: verification-failed: ")


def test_a_folder_that_may_not_be_written_to_is_refused_before_the_work(
    source: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An hour's smoke does not end without a report because of a mode that could be seen before."""
    monkeypatch.setattr(os, "access", lambda path, _: Path(path) != folder)
    result = run("convert", source, "--report", folder / "r.json")
    assert result.exit_code == 2
    assert f"nothing can be written to the folder '{folder}'" in result.stderr
    assert [path.name for path in source.parent.iterdir()] == ["model.pt"]
