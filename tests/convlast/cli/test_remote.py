"""Work that a service does."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from convlast.cli import app
from convlast.jobs import JobInput
from convlast.report import Report
from tests.convlast.client.answering import ARTIFACT, report
from tests.convlast.client.fake_service import ID, Answer, FakeService, problem_of, status
from tests.convlast.client.serving import served

ROOT = Path(__file__).parents[3]
SERVER = ("--server", "http://127.0.0.1:9")


def run(*arguments: object) -> Result:
    """Run the command line; an exception that it lets through fails the test."""
    return CliRunner().invoke(app, [str(word) for word in arguments], catch_exceptions=False)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A file to send."""
    path = tmp_path / "model.pt"
    path.write_bytes(b"weights")
    return path


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> FakeService:
    """Return a service whose job is queued, runs and succeeds."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return FakeService(
        status("queued", 1, place=2),
        status("running", 2, "write", 10, 200),
        status("running", 3, "prove", 1, 2),
        status("succeeded", 4),
    )


@pytest.fixture
def server(service: FakeService) -> Iterator[tuple[str, str]]:
    """Yield the option that names the service."""
    with served(service) as url:
        yield ("--server", url)


def stages_of(result: Result) -> list[str]:
    """Return the stages that have a line."""
    return re.findall(r"^(\w+): [\d.]+ ", result.stderr, re.MULTILINE)


def test_a_service_inspects(
    service: FakeService, server: tuple[str, str], source: Path, tmp_path: Path
) -> None:
    """The file is sent with the options and the key, and each stage is shown."""
    key = tmp_path / "key"
    key.write_text("secret\n")
    result = run("inspect", source, *server, "--key-file", key, "--select=a.*", "--json")
    assert result.exit_code == 0
    upload = service.of_kind("upload")[0]
    assert upload.path == "/inspect"
    assert upload.params == [("select", "a.*"), ("filename", "model.pt")]
    assert upload.headers["authorization"] == "Bearer secret"
    Report.model_validate_json(result.stdout)
    assert stages_of(result) == ["upload", "queue", "write", "prove"]


def test_a_service_converts(
    service: FakeService, server: tuple[str, str], source: Path, tmp_path: Path
) -> None:
    """The artifact comes to where -o says, and all parts of the way are shown."""
    result = run("convert", source, *server, "-o", tmp_path / "out.pt", "--json")
    assert result.exit_code == 0
    assert (tmp_path / "out.pt").read_bytes() == ARTIFACT
    assert stages_of(result) == ["upload", "queue", "write", "prove", "download"]
    again = run("convert", source, *server, "-o", tmp_path / "out.pt", "--force", "-q")
    assert (again.exit_code, again.stdout, again.stderr) == (0, "", "")
    assert len(service.of_kind("upload")) == 1


@pytest.fixture
def delivering(service: FakeService) -> FakeService:
    """Return that service, whose job fetches and delivers."""
    service.history = [
        status("queued", 1, "download", 5, 10),
        status("queued", 2, place=1),
        status("running", 3, "write", 10, 200),
        status("running", 4, "deliver", 1, 20),
        status("succeeded", 5),
    ]
    return service


def asked(service: FakeService) -> object:
    """Return the one body in JSON that came in."""
    (ask,) = service.of_kind("ask")
    return json.loads(ask.body)


def test_a_service_converts_from_store_to_store(
    delivering: FakeService, server: tuple[str, str]
) -> None:
    """Both addresses are handed over, and no bytes; what the service moves is shown."""
    words = ["convert", "s3://a/model.pt", "-o", "s3://b/made/", "--smoke=none"]
    result = run(*words, *server)
    assert result.exit_code == 0, result.stderr
    assert asked(delivering) == {
        "source": "s3://a/model.pt",
        "target": "s3://b/made/",
        "options": {"smoke": "none"},
    }
    assert not {"upload", "artifact"} & set(delivering.kinds())
    assert stages_of(result) == ["download", "queue", "write", "deliver"]
    assert "s3://b/made/model.channels_last_3d.pt" in result.stdout.replace("\n", "")


def test_a_service_converts_from_a_store_to_here(
    service: FakeService, server: tuple[str, str], tmp_path: Path
) -> None:
    """The artifact is downloaded; one that is there is not replaced without --force."""
    for place in (tmp_path / "out.pt", tmp_path):
        words = ["convert", "s3://a/model.pt", "-o", place, *server, "-q"]
        assert run(*words).exit_code == 0
        again = run(*words)
        assert (again.exit_code, "--force" in again.stderr) == (2, True)
        assert run(*words, "--force").exit_code == 0
    for name in ("out.pt", "model.channels_last_3d.pt"):
        assert (tmp_path / name).read_bytes() == ARTIFACT
    assert len(list(tmp_path.iterdir())) == 2


def test_a_model_folder_comes_here_as_a_tar(
    service: FakeService, server: tuple[str, str], tmp_path: Path
) -> None:
    """Its name says so, and the report names it."""
    service.told = report(filename="vae.channels_last_3d.tar", container="tar-folder")
    service.told.input.container = "folder"
    job = service.history[-1].model_copy(
        update={"input": JobInput(filename="vae", sha256=None, bytes=9)}
    )
    service.history = [job]
    result = run("convert", "s3://a/vae/", "-o", tmp_path, *server)
    assert result.exit_code == 0, result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["vae.channels_last_3d.tar"]
    assert "vae.channels_last_3d.tar" in result.stdout.replace("\n", "")


def test_a_service_inspects_what_is_in_a_store(
    service: FakeService, server: tuple[str, str]
) -> None:
    """Only its address is sent."""
    result = run("inspect", "s3://a/model.pt", *server, "--json")
    assert result.exit_code == 0
    assert asked(service) == {"source": "s3://a/model.pt", "options": {}}
    Report.model_validate_json(result.stdout)


def test_a_job_with_addresses_is_left_to_the_service(
    service: FakeService, server: tuple[str, str]
) -> None:
    """It delivers without anybody who waits."""
    result = run("convert", "s3://a/vae/", "-o", "s3://b/vae/", *server, "--detach")
    assert (result.exit_code, result.stdout) == (0, f"{ID}\n")
    assert asked(service) == {"source": "s3://a/vae/", "target": "s3://b/vae/", "options": {}}


@pytest.mark.parametrize("detach", [[], ["--detach"]])
def test_a_file_of_this_machine_goes_to_no_store(source: Path, detach: list[str]) -> None:
    """The service would need it first; it is told what to do instead."""
    result = run("convert", source, "-o", "s3://b/", *SERVER, *detach)
    assert result.exit_code == 2
    assert "put the file into a store" in result.stderr


def test_an_artifact_in_a_store_needs_a_place(service: FakeService) -> None:
    """Without -o nothing says where it goes, with a service as without one."""
    result = run("convert", "s3://a/model.pt", *SERVER)
    assert (result.exit_code, "-o OUT" in result.stderr) == (2, True)


def test_a_refused_address_is_told_with_its_remedy(
    service: FakeService, server: tuple[str, str]
) -> None:
    """The words are those of the service, which names the setting, and are asked for once."""
    detail = "s3://a/m.pt is not among the addresses that may be used here. CONVLAST_SOURCES."
    body = json.dumps(problem_of("address-not-allowed", detail)).encode()
    refusal = Answer(403, {"Content-Type": "application/problem+json"}, [body])
    service.faults["ask"] = [lambda _: refusal]
    result = run("convert", "s3://a/m.pt", "-o", "s3://b/", *server)
    assert result.exit_code == 1
    assert result.stderr == f"convlast: address-not-allowed: {detail}\n"
    assert service.kinds() == ["ask"]


@pytest.mark.parametrize(("code", "exit_code"), [("timed-out", 1), ("invalid-option", 2)])
def test_a_job_that_fails_is_told(
    service: FakeService, server: tuple[str, str], source: Path, code: str, exit_code: int
) -> None:
    """Its code is told, with the status for it, and no line says that the last stage ended."""
    service.history[-1] = status("failed", 9, problem=problem_of(code, "Not now."))
    result = run("inspect", source, *server)
    assert result.exit_code == exit_code
    assert stages_of(result) == ["upload", "queue", "write"]
    assert result.stderr.endswith(f"convlast: {code}: Not now.\n")


def test_a_job_is_left_to_the_service(
    service: FakeService, server: tuple[str, str], source: Path, tmp_path: Path
) -> None:
    """With --detach stdout has the id alone, and nothing is awaited or written."""
    result = run("convert", source, *server, "--detach", "--smoke=none")
    assert (result.exit_code, result.stdout) == (0, f"{ID}\n")
    assert service.kinds() == ["ask", "upload"]
    assert ("smoke", "none") in service.of_kind("upload")[0].params
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]
    result = run("convert", source, *server, "--detach", "--quiet")
    assert (result.stdout, result.stderr) == (f"{ID}\n", "")


@pytest.mark.parametrize(
    "more",
    [
        ["-o", "out.pt"],
        ["--report", "report.html"],
        ["--json"],
        ["--fail-on=warning"],
        ["--max-error=1"],
    ],
)
def test_a_job_that_is_left_has_no_result_yet(source: Path, more: list[str]) -> None:
    """What has nothing to write or to judge is refused before anything is sent."""
    result = run("convert", source, *SERVER, "--detach", *more)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "jobs fetch" in result.stderr


def test_a_job_is_not_left_to_nobody(source: Path) -> None:
    """--detach needs a service."""
    result = run("convert", source, "--detach")
    assert (result.exit_code, "--server URL" in result.stderr) == (2, True)


@pytest.mark.parametrize(
    ("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["INT", "TERM"]
)
def test_an_interrupted_conversion_cancels_its_job(
    service: FakeService,
    server: tuple[str, str],
    source: Path,
    number: signal.Signals,
    exit_code: int,
) -> None:
    """Ctrl-C ends the command at once, the job too, and nothing is half written."""
    service.history, service.holds = [status("running", 1, "write", 3, 9)], True
    words = [sys.executable, "-m", "convlast", "convert", str(source), *server, "-o", "out.pt"]
    with subprocess.Popen(
        words, cwd=source.parent, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        while "events" not in service.kinds():
            time.sleep(0.01)
        time.sleep(0.2)
        process.send_signal(number)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == exit_code
    assert "Traceback" not in stderr
    assert service.kinds()[-1] == "delete"
    assert [path.name for path in source.parent.iterdir()] == ["model.pt"]


@pytest.mark.parametrize("command", ["convert", "inspect"])
def test_a_service_takes_no_folder(tmp_path: Path, command: str) -> None:
    """A folder is packed first, and the message says so."""
    result = run(command, tmp_path, *SERVER)
    assert (result.exit_code, "Pack it" in result.stderr) == (2, True)


def test_an_absent_client_is_told(monkeypatch: pytest.MonkeyPatch, source: Path) -> None:
    """Without httpx the message names the packages of the extra."""
    monkeypatch.setitem(sys.modules, "convlast.client", None)
    result = run("inspect", source, *SERVER)
    assert result.exit_code == 2
    assert "pip install anyio httpx" in result.stderr
