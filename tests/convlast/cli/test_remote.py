"""Work that a service does."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any, Self

import pytest
from typer.testing import CliRunner, Result

from convlast import client
from convlast.cli import app
from convlast.errors import RemoteError
from convlast.options import Options
from convlast.progress import Progress
from convlast.report import Report

RECORDED = Path(__file__).parents[1] / "report" / "rendering" / "report.json"
SERVER = ("--server", "http://127.0.0.1:8000")


def run(*arguments: object) -> Result:
    """Run the command line; an exception that it lets through fails the test."""
    return CliRunner().invoke(app, [str(word) for word in arguments], catch_exceptions=False)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A file to send."""
    path = tmp_path / "model.pt"
    path.write_bytes(b"weights")
    return path


class FakeClient:
    """Takes the client's place, and records what it is asked."""

    calls: list[tuple[Any, ...]]
    problem: RemoteError | None

    def __init__(self, url: str, *, key: str | None = None) -> None:
        self.calls.append((url, key))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def convert(
        self, source: Path, target: Path, options: Options, *, progress: Progress
    ) -> Report:
        """Send a file, work, and fetch the artifact."""
        self.calls.append(("convert", source, target, options))
        report = self._answer(progress)
        for done in (1, 9):
            progress("download", done, 9)
        return report

    def inspect(self, source: Path, options: Options, *, progress: Progress) -> Report:
        """Send a file, and work."""
        self.calls.append(("inspect", source, options))
        return self._answer(progress)

    def _answer(self, progress: Progress) -> Report:
        for done in (1, 7):
            progress("upload", done, 7)
        if self.problem is not None:
            raise self.problem
        return Report.model_validate_json(RECORDED.read_bytes())


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> type[FakeClient]:
    """Replace the client."""
    monkeypatch.setattr(FakeClient, "calls", [], raising=False)
    monkeypatch.setattr(FakeClient, "problem", None, raising=False)
    monkeypatch.setattr(client, "Client", FakeClient)
    return FakeClient


def test_a_service_inspects(asked: type[FakeClient], source: Path, tmp_path: Path) -> None:
    """The file is sent with the options and the key, and the upload and the work are shown."""
    key = tmp_path / "key"
    key.write_text("secret\n")
    result = run("inspect", source, *SERVER, "--key-file", key, "--select=a.*", "--json")
    assert result.exit_code == 0
    assert asked.calls == [
        ("http://127.0.0.1:8000", "secret"),
        ("inspect", source, Options(select=("a.*",))),
    ]
    Report.model_validate_json(result.stdout)
    assert re.findall(r"^\w+", result.stderr, re.MULTILINE) == ["upload", "service"]


def test_a_service_converts(asked: type[FakeClient], source: Path, tmp_path: Path) -> None:
    """The artifact comes to where -o says, and all three parts of the way are shown."""
    result = run("convert", source, *SERVER, "-o", tmp_path / "out.pt", "--json")
    assert result.exit_code == 0
    assert asked.calls[1] == ("convert", source, tmp_path / "out.pt", Options())
    stages = re.findall(r"^\w+", result.stderr, re.MULTILINE)
    assert stages == ["upload", "service", "download"]


def test_a_service_that_refuses_has_not_ended_its_work(
    asked: type[FakeClient], source: Path
) -> None:
    """Its code is told, with the status for it, and no line says that it had worked."""
    for code, status in (("queue-full", 1), ("invalid-option", 2)):
        asked.problem = RemoteError(code, "Not now.")
        result = run("inspect", source, *SERVER)
        assert result.exit_code == status
        assert re.findall(r"^[\w ]+: ", result.stderr, re.MULTILINE) == ["upload: ", "convlast: "]
        assert result.stderr.endswith(f"convlast: {code}: Not now.\n")


@pytest.mark.parametrize("command", ["convert", "inspect"])
def test_a_service_takes_no_folder(asked: type[FakeClient], tmp_path: Path, command: str) -> None:
    """A folder is packed first, and the message says so."""
    result = run(command, tmp_path, *SERVER)
    assert (result.exit_code, "Pack it" in result.stderr) == (2, True)
    assert asked.calls == []


def test_an_absent_client_is_told(monkeypatch: pytest.MonkeyPatch, source: Path) -> None:
    """Without httpx the message names the extra."""
    monkeypatch.setitem(sys.modules, "convlast.client", None)
    result = run("inspect", source, *SERVER)
    assert result.exit_code == 2
    assert "pip install 'convlast[client]'" in result.stderr
