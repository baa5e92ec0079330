"""A statement that cannot be had, or written, is told, and all else is delivered."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import convlast
from convlast.cli import app, outcome
from convlast.places import workplace
from convlast.provenance.envelope import STATEMENT
from convlast.report import Report
from tests import builders
from tests.convlast.client.answering import ARTIFACT, report
from tests.convlast.client.fake_service import ID, Answer, FakeService, problem_of, status
from tests.convlast.client.serving import served
from tests.convlast.provenance.statements import on_files

KEPT = "model.channels_last_3d.pt"


def run(*arguments: object) -> Result:
    """Run the command line; an exception that it lets through fails the test."""
    return CliRunner().invoke(app, [str(word) for word in arguments], catch_exceptions=False)


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint in the current folder, and a folder for the statement."""
    monkeypatch.chdir(tmp_path)
    Path("out").mkdir()
    return builders.save(builders.one_convolution(), Path("model.pt"))


def raising(number: int) -> Callable[..., Any]:
    """Return what raises an error of the system."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def vanished(_: pytest.MonkeyPatch) -> str:
    """Take the folder away."""
    shutil.rmtree("out")
    return f"There is no folder '{Path.cwd() / 'out'}'.\n"


def full(monkeypatch: pytest.MonkeyPatch) -> str:
    """Let the file system be full."""
    monkeypatch.setattr(Path, "write_bytes", raising(errno.ENOSPC))
    return "The file system is full.\n  Free room for the file.\n"


def full_at_once(monkeypatch: pytest.MonkeyPatch) -> str:
    """Let there not even be room for a folder."""
    monkeypatch.setattr(workplace, "temporary_tree", raising(errno.ENOSPC))
    return "The file system is full.\n  Free room for the file.\n"


def broken(monkeypatch: pytest.MonkeyPatch) -> str:
    """Let the disk fail."""
    monkeypatch.setattr(Path, "write_bytes", raising(errno.EIO))
    return "Input/output error.\n"


def taken(_: pytest.MonkeyPatch) -> str:
    """Let somebody write something else there meanwhile."""
    Path("out/s.json").write_text("{}")
    return (
        "'out/s.json' is there already, and no statement, which a new one may replace.\n"
        "  Name another place.\n"
    )


@pytest.mark.parametrize("trouble", [vanished, full, full_at_once, broken, taken])
def test_a_statement_that_cannot_be_written_is_named(
    source: Path, monkeypatch: pytest.MonkeyPatch, trouble: Callable[[pytest.MonkeyPatch], str]
) -> None:
    """The report is printed, the status is 1, and the message names file, reason and artifact."""
    convert, reasons = convlast.convert, []

    def work(*arguments: Any, **settings: Any) -> Report:
        made = convert(*arguments, **settings)
        reasons.append(trouble(monkeypatch))
        return made

    monkeypatch.setitem(vars(convlast), "convert", work)
    ended = run("convert", source, "--smoke=none", "--statement=out/s.json")
    assert ended.exit_code == 1
    assert ended.stdout.startswith("✓ Passed: ")
    assert Path(KEPT).is_file()
    assert ended.stderr.endswith(
        f"convlast: statement-not-written: There is no statement 'out/s.json': {reasons[0]}"
        f"  The artifact is there: '{Path.cwd() / KEPT}'.\n"
    )


def test_a_report_is_written_where_a_statement_cannot_be(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file is told for itself, and a gate that stops has the last word."""
    convert = convlast.convert

    def work(*arguments: Any, **settings: Any) -> Report:
        made = convert(*arguments, **settings)
        vanished(monkeypatch)
        return made

    monkeypatch.setitem(vars(convlast), "convert", work)
    words = ("--statement=out/s.json", "--report=r.json", "--report=out/r.json", "--max-error=0")
    ended = run("convert", source, "-q", *words)
    assert (ended.exit_code, ended.stdout) == (1, "")
    codes = [line.split()[1] for line in ended.stderr.splitlines() if line.startswith("convlast")]
    assert codes == ["report-not-written:", "statement-not-written:", "error-too-large:"]
    Report.model_validate_json(Path("r.json").read_bytes())


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EPIPE])
def test_a_statement_does_not_depend_on_who_reads_stdout(
    source: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """It is a file, as `--report` writes."""
    monkeypatch.setattr(outcome, "show", raising(number))
    words = [str(word) for word in ("convert", source, "--smoke=none", "--statement=out/s.json")]
    assert CliRunner().invoke(app, words).exit_code == 1
    assert json.loads(Path("out/s.json").read_bytes())["subject"][0]["name"] == KEPT


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> FakeService:
    """A service whose job has succeeded."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return FakeService(told=report().model_copy(update={"job_id": ID}))


@pytest.fixture
def url(service: FakeService) -> Iterator[str]:
    """Yield the address of the service."""
    with served(service) as address:
        yield address


@pytest.fixture(params=["convert", "fetch"])
def words(request: pytest.FixtureRequest, source: Path, url: str) -> tuple[str, ...]:
    """The command lines that fetch a statement."""
    place = ("-o", KEPT, "--statement", "s.json", "--report", "r.json", "--server", url)
    command = ("convert", str(source)) if request.param == "convert" else ("jobs", "fetch", ID)
    return *command, *place


def as_statement(content: bytes) -> Callable[[Answer], Answer]:
    """Return a fault: this is sent in place of the statement."""
    return lambda _: Answer(200, {"Content-Type": STATEMENT}, [content])


def test_what_a_service_states_is_written(words: tuple[str, ...]) -> None:
    """Byte for byte, whatever name the artifact has here."""
    ended = run(*words)
    assert ended.exit_code == 0, ended.output
    assert Path(KEPT).read_bytes() == ARTIFACT
    assert run("verify", "--statement", "s.json", KEPT).exit_code == 0


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (
            lambda _: Answer(
                404,
                {"Content-Type": "application/problem+json"},
                [json.dumps(problem_of("not-found", "There is none.")).encode()],
            ),
            "There is none.",
        ),
        (as_statement(b"<html>login</html>"), "answered with something that is no statement"),
        (as_statement(b""), "answered with something that is no statement"),
        (
            as_statement(json.dumps(on_files({"model.pt": b"another"})).encode()),
            "What the service states is about another artifact than its report.",
        ),
    ],
    ids=["absent", "page", "empty", "another"],
)
def test_a_statement_that_cannot_be_had_is_told(
    service: FakeService, words: tuple[str, ...], fault: Any, said: str
) -> None:
    """Nothing is written for it; the report and the artifact are there, and the status is 1."""
    service.faults["provenance"] = [fault]
    ended = run(*words)
    assert ended.exit_code == 1
    assert ended.stdout.startswith("✓ Passed: model.pt")
    assert Path(KEPT).read_bytes() == ARTIFACT
    Report.model_validate_json(Path("r.json").read_bytes())
    assert not Path("s.json").exists()
    told = ended.stderr.partition("convlast: statement-not-written: There is no statement ")[2]
    assert told.startswith("'s.json': ")
    assert said in told
    *_, last = told.splitlines()
    assert last.startswith("  The artifact is there: ")
    assert last.endswith(f"{KEPT}'.")


@pytest.mark.usefixtures("source")
def test_of_an_inspection_nothing_is_stated(service: FakeService, url: str) -> None:
    """It makes no artifact, and that is said before the report is asked for."""
    service.history = [status(verb="inspect")]
    ended = run("jobs", "fetch", ID, "--statement=s.json", "--report=r.json", "--server", url)
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert "An inspection makes no artifact" in ended.stderr
    assert service.kinds() == ["job"]
    assert not Path("r.json").exists()
