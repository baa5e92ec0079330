from __future__ import annotations

import os
import pickle
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.service.running import Running, start

TRUSTING = "tests.service.trusting_service"
NO_ENTRY = ("PermissionError", "BlockingIOError")


class Calls:
    """A pickle that calls a function when it is loaded."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self._call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self._call


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Run a service whose workers unpickle uploads; skip on kernels without the sandbox."""
    running = start(tmp_path_factory.mktemp("trusting"), TRUSTING)
    running.wait_until_ready()
    walls = httpx.get(f"{running.url}/readyz", trust_env=False).json()
    missing = [wall["name"] for wall in walls["checks"]["converters"]["walls"] if not wall["held"]]
    if {"files", "calls"} & set(missing):
        running.stop()
        pytest.skip(f"this kernel does not hold {', '.join(missing)}")
    yield running
    running.stop()


def outcome(service: Running, function: Callable[..., object], *arguments: object) -> str:
    """Call a function in a worker through an upload, and return its result."""
    response = service.convert(pickle.dumps(Calls(function, *arguments)))
    assert response.json()["code"] == "not-a-checkpoint", response.text
    return str(response.json()["detail"])


def test_the_code_of_an_upload_does_run_here(service: Running) -> None:
    """The code of an upload runs here, or the other tests would prove nothing."""
    assert outcome(service, pow, 6, 2) == "36"


def test_it_opens_no_socket(service: Running) -> None:
    """The code can open no socket, not even to this machine."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = listening.getsockname()
        assert outcome(service, socket.create_connection, address).startswith(NO_ENTRY)


def test_it_runs_no_program(service: Running, tmp_path: Path) -> None:
    """The code can start no shell and no other program."""
    trace = tmp_path / "trace"

    assert outcome(service, os.system, f"touch {trace}") != "0"
    assert outcome(service, os.execv, "/bin/true", ["true"]).startswith(NO_ENTRY)
    assert outcome(service, os.fork).startswith(NO_ENTRY)
    assert not trace.exists()


def test_it_reads_no_other_jobs_folder(service: Running) -> None:
    """The code cannot list, read or change other folders in the work folder."""
    other = service.work_dir / "jobs" / "other"
    other.mkdir()
    (other / "upload").write_text("secret")
    try:
        assert outcome(service, os.listdir, str(service.work_dir)).startswith(NO_ENTRY)
        assert outcome(service, os.listdir, str(other)).startswith(NO_ENTRY)
        assert outcome(service, os.open, str(other / "upload"), os.O_RDONLY).startswith(NO_ENTRY)
        assert outcome(service, os.unlink, str(other / "upload")).startswith(NO_ENTRY)
        assert (other / "upload").read_text() == "secret"
    finally:
        (other / "upload").unlink()
        other.rmdir()


@pytest.mark.parametrize(
    "attempt",
    [
        "upload.write_bytes(b'hostile')",
        "upload.unlink()",
        "upload.rename(home / 'taken')",
        "upload.with_name('planted').write_bytes(b'hostile')",
    ],
)
def test_it_does_not_change_its_own_checkpoint(service: Running, attempt: str) -> None:
    """The code can only read the upload that it came in, in a folder where it can make nothing."""
    home = "(home := __import__('pathlib').Path.home())"
    upload = f"(upload := {home}.parent / 'input' / 'upload')"
    assert outcome(service, eval, f"{upload}.is_file()") == "True"
    assert outcome(service, eval, f"({upload}, {attempt})").startswith(NO_ENTRY)


def test_it_finds_no_secret(service: Running) -> None:
    """The environment has no setting of the service, and the user's files cannot be read."""
    assert "CONVLAST" not in outcome(service, os.getenv, "CONVLAST_WORK_DIR", "nothing")
    assert outcome(service, os.open, "/etc/passwd", os.O_RDONLY).startswith(NO_ENTRY)
    parent = f"/proc/{service.process.pid}/environ"
    assert outcome(service, os.open, parent, os.O_RDONLY).startswith(NO_ENTRY)


def test_it_writes_nothing_into_the_log(service: Running) -> None:
    """Its output does not reach the log, and it cannot truncate the log."""
    log = service.log.read_bytes()
    for number in (0, 1, 2):
        target = outcome(service, os.readlink, f"/proc/self/fd/{number}")
        assert str(service.log) not in target
        outcome(service, os.write, number, b'{"event": "forged"}\n')
        outcome(service, os.ftruncate, number, 0)
    assert service.log.read_bytes().startswith(log)
    assert b"forged" not in service.log.read_bytes()


def test_it_leaves_nothing_for_the_next(service: Running) -> None:
    """Changes in its process and its folder are gone with it, and the service goes on."""
    left = "__import__('pathlib').Path(__import__('os').environ['HOME'], 'left').write_text('x')"

    assert outcome(service, eval, left) == "1"
    assert outcome(service, eval, "__import__('sys').modules.update(left=1)") == "None"
    assert outcome(service, eval, "'left' in __import__('sys').modules") == "False"
    assert outcome(service, pow, 2, 5) == "32"
    assert service.settled_files() == set()
