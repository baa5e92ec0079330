"""Hostile files and faults, against the container through its published port."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from service.problems import TABLE
from tests.container.deployment import WORK, Deployment
from tests.container.samples import slow_checkpoint
from tests.hostile import runs_code
from tests.hostile.test_attacks import ATTACKS
from tests.service.running import wait_for

pytestmark = pytest.mark.container

KILL = "import os, sys; [os.kill(int(each), int(sys.argv[1])) for each in sys.argv[2:]]"
FIND_SERVICE = """
import pathlib
for each in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
    if each.read_bytes().split(b"\\0")[1:3] == [b"-m", b"service"]:
        print(each.parent.name)
"""
COUNT_PROCESSES = "import pathlib; print(len(list(pathlib.Path('/proc').glob('[0-9]*'))))"


@pytest.fixture(autouse=True)
def unharmed(service: Deployment) -> Iterator[None]:
    """After each of these the service is ready, and nothing is left of the job."""
    yield
    wait_for(service.is_ready, within_s=90)
    wait_for(lambda: service.files_at_work() == set())


def processes(service: Deployment) -> int:
    """Count what runs in the container."""
    return int(service.inside(COUNT_PROCESSES))


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_is_refused(attack: str, service: Deployment) -> None:
    """Each hostile file gets the answer that the table has for it."""
    build, code, words = ATTACKS[attack]
    answer = service.convert(build(), data={"smoke": "none"})
    assert (answer.status_code, answer.json()["code"]) == (TABLE[code].status, code)
    assert words in answer.json()["detail"] + answer.text


@pytest.mark.parametrize("legacy", [False, True])
def test_no_code_runs(legacy: bool, service: Deployment) -> None:
    """A pickle that calls `os.system` is refused, and leaves no trace."""
    content = runs_code.by_os_system(Path(WORK, "store", "trace"), legacy=legacy)
    assert service.convert(content).json()["code"] == "unsafe-checkpoint"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSEGV])
def test_a_killed_worker_is_a_crash_of_its_job_only(
    how: signal.Signals, service: Deployment
) -> None:
    """Its client is answered, and the next job runs."""
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(service.convert, slow_checkpoint())
        wait_for(service.is_converting)
        service.inside(KILL, str(int(how)), *service.workers())
        assert answer.result().json()["code"] == "worker-crashed"
        assert how.name in answer.result().json()["detail"]
    assert service.convert(b"x").json()["code"] == "not-a-checkpoint"


def test_a_client_that_leaves_leaves_nothing(service: Deployment) -> None:
    """In the middle of an upload, and while its job runs."""
    head = (
        b"POST /convert HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\n"
        b"Content-Length: %d\r\n\r\n"
    )
    content = slow_checkpoint()
    for sent in (content[: len(content) // 2], content):
        with socket.create_connection(("127.0.0.1", service.port)) as connection:
            connection.sendall(head % len(content) + sent)
            wait_for(service.taken)
        wait_for(lambda: not service.taken())


def test_no_process_stays(service: Deployment) -> None:
    """Many jobs later there are as many processes as before, give or take a probe or a worker."""
    service.convert(b"x")
    wait_for(service.is_ready)
    before = processes(service)
    for _ in range(10):
        service.convert(b"x")
    wait_for(lambda: processes(service) <= before + 2)  # each job that left one would add ten


def test_a_service_that_is_killed_is_started_again(service: Deployment) -> None:
    """The engine brings it back; what was half done is swept, and it serves."""
    (pid,) = service.inside(FIND_SERVICE).split()
    before = service.inspect()["RestartCount"]
    with socket.create_connection(("127.0.0.1", service.port)) as connection:
        connection.sendall(
            b"POST /convert HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"
            b"Content-Type: application/octet-stream\r\n\r\nhalf"
        )
        wait_for(lambda: service.files_at_work() != set())
        service.inside(KILL, str(int(signal.SIGKILL)), pid)
    wait_for(lambda: service.inspect()["RestartCount"] == before + 1)
    wait_for(service.is_ready, within_s=90)
    assert service.convert(b"x").json()["code"] == "not-a-checkpoint"
