"""The jobs of a service, on the command line."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from convlast.cli import app
from convlast.jobs import JobProgress, JobStatus
from convlast.report import Finding, Report
from tests.convlast.client.answering import ARTIFACT, report
from tests.convlast.client.fake_service import ID, FakeService, problem_of, status
from tests.convlast.client.serving import served

RUNNING = [status("running", 1, "write", 10, 200), status("running", 2, "prove", 1, 2)]
FAILED = status("failed", 9, problem=problem_of("unsafe-checkpoint", "It asks for os.system."))


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> FakeService:
    """Return a service whose job has succeeded."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return FakeService()


@pytest.fixture
def url(service: FakeService) -> Iterator[str]:
    """Yield the address of the service."""
    with served(service) as address:
        yield address


def run(*arguments: object) -> Result:
    """Run a command on jobs; an exception that it lets through fails the test."""
    words = ["jobs", *(str(word) for word in arguments)]
    return CliRunner().invoke(app, words, catch_exceptions=False)


def test_jobs_are_listed(url: str, service: FakeService) -> None:
    """Each has a line with its id, its state and how far it is, or why it failed."""
    remaining = JobProgress(
        stage="write", done=2000, total=8000, unit="bytes", seq=3, remaining_s=3.5
    )
    service.history = [
        status("queued", 4, place=2, wait_s=61.0),
        status("running", 3, progress=remaining),
        status("running", 2, "read"),
        status("succeeded", 1, verdict="passed"),
        FAILED,
    ]
    result = run("list", "--server", url)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert all(line.startswith(f"{ID}  ") for line in lines)
    assert [line.removeprefix(f"{ID}  ") for line in lines] == [
        "queued     convert model.pt: place 2 in the queue, about 61 s to wait",
        "running    convert model.pt: write, 2.0 kB of 8.0 kB, about 4 s left",
        "running    convert model.pt: read",
        "succeeded  convert model.pt: passed",
        "failed     convert model.pt: unsafe-checkpoint: It asks for os.system.",
    ]


def test_jobs_are_listed_as_json(url: str, service: FakeService) -> None:
    """As an array of what the service tells of each."""
    service.history = RUNNING
    result = run("list", "--server", url, "--json", "--state=running")
    assert [JobStatus(**each) for each in json.loads(result.stdout)] == RUNNING
    assert ("state", "running") in service.seen[0].params


def test_no_jobs_are_listed_in_words(url: str, service: FakeService) -> None:
    """An empty screen would say nothing."""
    service.faults["list"] = [
        lambda answer: type(answer)(200, answer.headers, [b'{"jobs": [], "next": null}'])
    ]
    assert run("list", "--server", url).stdout == "There are no jobs.\n"


def test_a_job_is_shown(url: str, service: FakeService) -> None:
    """A failed one with its reason; that it was found is a success."""
    service.history = [FAILED.model_copy(update={"options": {"smoke": "none"}})]
    result = run("show", ID, "--server", url)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        f"job        {ID}",
        "state      failed",
        "what       convert model.pt (12 B)",
        "options    smoke=none",
        "created    2026-11-26 00:00:00 UTC",
        "reason     unsafe-checkpoint: It asks for os.system.",
    ]
    as_json = run("show", ID, "--server", url, "--json").stdout
    assert JobStatus.model_validate_json(as_json) == service.history[0]


def test_words_of_a_service_do_not_move_the_cursor(url: str, service: FakeService) -> None:
    """They are escaped, and stay on their line."""
    name = "a\x1b[2J\nstate      succeeded"
    service.history = [status(input={"filename": name, "sha256": "0" * 64, "bytes": 1})]
    for command in (("list",), ("show", ID)):
        said = run(*command, "--server", url).stdout
        assert "\x1b" not in said
        assert "\nstate      succeeded\n" not in said.replace("state      succeeded\nwhat", "")


def test_a_job_is_waited_for(url: str, service: FakeService) -> None:
    """Its stages are shown on stderr, and its end on stdout."""
    service.history = [*RUNNING, status("succeeded", 3, verdict="passed")]
    result = run("wait", ID, "--server", url)
    assert result.exit_code == 0
    assert [line.partition(":")[0] for line in result.stderr.splitlines()] == ["write", "prove"]
    assert "state      succeeded\n" in result.stdout
    result = run("wait", ID, "--server", url, "--json", "-q")
    assert JobStatus.model_validate_json(result.stdout).state == "succeeded"
    assert result.stderr == ""
    assert run("wait", ID, "--server", url, "-q").output == ""


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (FAILED, "convlast: unsafe-checkpoint: It asks for os.system.\n"),
        (status("failed", 9), "convlast: internal: The service does not say why the job failed.\n"),
        (status("cancelled", 9), "convlast: gone: The job was cancelled.\n"),
    ],
    ids=["failed", "unknown", "cancelled"],
)
def test_a_job_that_failed_ends_with_its_reason(
    url: str, service: FakeService, end: JobStatus, said: str
) -> None:
    """The exit status is 1, whether it was waited for or fetched."""
    service.history = [*RUNNING, end]
    result = run("wait", ID, "--server", url, "-q")
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", said)
    assert run("wait", ID, "--server", url, "-q", "--json").stdout


def test_waiting_may_be_given_up(
    url: str, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C leaves the job to the service, and says so."""
    service.history, service.holds = [*RUNNING], True

    def interrupt(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr("convlast.cli.progress_bar.silent", interrupt)
    result = run("wait", ID, "--server", url, "-q")
    assert result.exit_code == 130
    assert result.stderr.startswith("convlast: interrupted: The job goes on.\n")
    assert "delete" not in service.kinds()
    service.deleted.set()


def test_an_artifact_is_fetched(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is written to OUT or into the folder, and the report is delivered as by convert."""
    monkeypatch.chdir(tmp_path)
    result = run("fetch", ID, "--server", url, "-o", "out.pt", "--report", "r.json", "--json")
    assert result.exit_code == 0
    assert Path("out.pt").read_bytes() == ARTIFACT
    assert Report.model_validate_json(result.stdout) == report(filename="out.pt")
    assert Report.model_validate_json(Path("r.json").read_bytes()) == report(filename="out.pt")
    assert run("fetch", ID, "--server", url, "-q").output == ""
    assert Path("model.channels_last_3d.pt").read_bytes() == ARTIFACT


def test_a_job_that_was_left_is_judged_when_it_is_fetched(
    url: str, service: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The artifact is there, and the last line names it."""
    monkeypatch.chdir(tmp_path)
    told = Finding(code="fp16-emulated", severity="info", message="No tensor cores.")
    service.told = report().model_copy(update={"findings": [told]})
    result = run("fetch", ID, "--server", url, "-o", "out.pt", "--fail-on=fp16-emulated")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith(
        "convlast: finding-found: --fail-on=fp16-emulated, "
    )
    assert result.stderr.endswith(f" The artifact is kept: '{tmp_path / 'out.pt'}'.\n")
    assert Path("out.pt").read_bytes() == ARTIFACT


def test_a_file_that_is_there_is_not_replaced(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless --force is given, as by convert."""
    monkeypatch.chdir(tmp_path)
    Path("out.pt").write_bytes(b"an earlier one")
    result = run("fetch", ID, "--server", url, "-o", "out.pt")
    assert (result.exit_code, "--force" in result.stderr) == (2, True)
    assert Path("out.pt").read_bytes() == b"an earlier one"
    assert run("fetch", ID, "--server", url, "-o", "out.pt", "--force").exit_code == 0
    assert Path("out.pt").read_bytes() == ARTIFACT


def test_a_report_does_not_go_where_the_artifact_does(
    url: str, service: FakeService, tmp_path: Path
) -> None:
    """It is refused before anything is asked."""
    place = tmp_path / "out.json"
    result = run("fetch", ID, "--server", url, "-o", place, "--report", place)
    assert (result.exit_code, "this is where the artifact goes" in result.stderr) == (2, True)
    assert not service.seen


def test_of_an_inspection_the_report_is_fetched(
    url: str, service: FakeService, tmp_path: Path
) -> None:
    """There is no artifact to name a place for."""
    service.history = [status(verb="inspect")]
    service.told = report().model_copy(update={"artifact": None})
    result = run("fetch", ID, "--server", url, "--json")
    assert result.exit_code == 0
    assert Report.model_validate_json(result.stdout).artifact is None
    result = run("fetch", ID, "--server", url, "-o", tmp_path / "out.pt")
    assert (result.exit_code, "no artifact" in result.stderr) == (2, True)


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (RUNNING[0], "conflict: The job is running.\n"),
        (FAILED, "unsafe-checkpoint: It asks for os.system.\n"),
        (status("cancelled"), "gone: The job was cancelled.\n"),
    ],
    ids=["running", "failed", "cancelled"],
)
@pytest.mark.parametrize("verb", ["convert", "inspect"])
def test_what_has_no_result_is_not_fetched(
    url: str, service: FakeService, tmp_path: Path, now: JobStatus, said: str, verb: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The reason is told, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    service.history = [now.model_copy(update={"verb": verb})]
    result = run("fetch", ID, "--server", url)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"convlast: {said}")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_proof_brings_its_report(url: str, service: FakeService, tmp_path: Path) -> None:
    """It is delivered, and the exit status is 1."""
    service.history = [status("failed", problem=problem_of("verification-failed", "It differs."))]
    target = tmp_path / "report.json"
    result = run("fetch", ID, "--server", url, "--report", target, "-q")
    assert (result.exit_code, result.stderr) == (1, "convlast: verification-failed: It differs.\n")
    assert Report.model_validate_json(target.read_bytes()) == report()


def test_a_job_is_cancelled(url: str, service: FakeService) -> None:
    """What became of it is shown; a finished one stays."""
    service.history = [*RUNNING]
    result = run("cancel", ID, "--server", url)
    assert (result.exit_code, "state      cancelled\n" in result.stdout) == (0, True)
    service.history, service.position = [status("succeeded")], 0
    result = run("cancel", ID, "--server", url, "--json")
    assert JobStatus.model_validate_json(result.stdout).state == "succeeded"
    assert not service.is_removed


@pytest.mark.parametrize("command", ["list", "show", "wait", "fetch", "cancel"])
def test_jobs_are_those_of_a_service(command: str) -> None:
    """Without one there is nobody to ask."""
    result = run(command, *([] if command == "list" else [ID]))
    assert (result.exit_code, "--server URL" in result.stderr) == (2, True)


@pytest.mark.parametrize("command", ["show", "wait", "fetch", "cancel"])
def test_a_wrong_id_is_wrong_usage(command: str) -> None:
    """It is refused here."""
    result = run(command, "model.pt", "--server", "http://127.0.0.1:9")
    assert (result.exit_code, "id of a job" in result.stderr) == (2, True)


def test_the_key_is_sent(url: str, service: FakeService, tmp_path: Path) -> None:
    """As by convert."""
    key = tmp_path / "key"
    key.write_text("secret\n")
    assert run("show", ID, "--server", url, "--key-file", key).exit_code == 0
    assert service.seen[0].headers["authorization"] == "Bearer secret"


def test_help_names_the_commands() -> None:
    """Without a command there is help; a wrong option says where it is."""
    for command in ("list", "show", "wait", "fetch", "cancel"):
        assert command in run("--help").stdout
        assert run(command, "--help").exit_code == 0
    result = run("show", ID, "--wrong")
    assert result.stderr.endswith("Try 'convlast jobs show --help'.\n")
