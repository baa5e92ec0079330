from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from convlast.client import AsyncClient, Client
from tests.convlast.client.answering import ARTIFACT
from tests.convlast.client.fake_service import ID, FakeService, cut, status
from tests.convlast.client.serving import served


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let time pass as it does, and use no proxy."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def url(service: FakeService) -> Iterator[str]:
    """Yield the address of the service."""
    with served(service) as address:
        yield address


def threads() -> list[str]:
    """Return the names of the clients' threads."""
    return [each.name for each in threading.enumerate() if "portal" in each.name]


def test_it_works_within_a_loop_that_runs(
    service: FakeService, source: Path, tmp_path: Path
) -> None:
    """As in a notebook, whose cells run in one."""

    async def cell() -> None:
        with service.client() as client:
            client.convert(source, tmp_path / "out.pt")
            assert [each.state for each in client.follow(ID)] == ["succeeded"]

    asyncio.run(cell())
    assert (tmp_path / "out.pt").read_bytes() == ARTIFACT


def test_a_closed_client_leaves_no_thread(service: FakeService) -> None:
    """Nor does one that is forgotten; closing twice does no harm."""
    with service.client() as client:
        assert threads()
    client.close()
    assert not threads()
    service.client().job(ID)
    gc.collect()
    assert not threads()


def test_a_program_may_end_without_closing_its_client() -> None:
    """Nothing holds it up."""
    program = "from convlast.client import Client; client = Client('http://127.0.0.1:9')"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_both_clients_have_the_same_verbs() -> None:
    """With the same arguments in the same order."""

    def verbs(kind: type) -> dict[str, tuple[str, ...]]:
        named = {name: getattr(kind, name) for name in dir(kind) if not name.startswith("_")}
        return {
            name: verb.__code__.co_varnames[: verb.__code__.co_argcount]
            for name, verb in named.items()
            if not name.endswith("close")
        }

    assert verbs(Client) == verbs(AsyncClient)


def test_an_interrupted_conversion_ends_at_once_and_cancels_its_job(
    url: str, service: FakeService, source: Path, tmp_path: Path
) -> None:
    """Ctrl-C arrives in the thread that waits."""
    service.history, service.holds = [status("running", 1, "write", 3, 9)], True
    interrupted_s = 0.0

    def interrupt(stage: str, *_: int) -> None:
        nonlocal interrupted_s
        if stage == "write":
            interrupted_s = time.monotonic()
            os.kill(os.getpid(), signal.SIGINT)

    with Client(url) as client, pytest.raises(KeyboardInterrupt):
        client.convert(source, tmp_path / "out.pt", progress=interrupt)
    assert time.monotonic() - interrupted_s < 15
    assert service.kinds()[-2:] == ["job", "delete"]
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]


def test_an_interrupted_wait_leaves_its_job(url: str, service: FakeService) -> None:
    """Who only waits has not begun it."""
    service.history, service.holds = [status("running", 1, "write", 3, 9)], True

    def interrupt(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    with Client(url) as client:
        with pytest.raises(KeyboardInterrupt):
            client.wait(ID, interrupt)
        assert client.job(ID).state == "running"
    assert "delete" not in service.kinds()
    service.deleted.set()


def test_a_conversion_outlives_a_restart_of_the_service(source: Path, tmp_path: Path) -> None:
    """Its stream is cut, then nobody is there, and the next service has the job's end."""
    before, after = (FakeService(status("running", 1, "write", 3, 9)) for _ in range(2))
    after.history.append(status("succeeded", 2))
    after.faults["artifact"] = [cut(400_000)]
    running = threading.Event()
    results: list[object] = []

    def convert(url: str) -> None:
        with Client(url) as client:
            results.append(
                client.convert(source, tmp_path / "out.pt", progress=lambda *_: running.set())
            )

    with served(before) as url:
        thread = threading.Thread(target=convert, args=(url,))
        thread.start()
        assert running.wait(30)
        while "events" not in before.kinds():
            time.sleep(0.01)
    time.sleep(0.5)
    with served(after, int(url.rpartition(":")[2])):
        thread.join(60)
    assert results
    assert after.kinds() == ["events", "report", "artifact", "artifact"]
    assert after.seen[0].headers["last-event-id"] == "1"
    assert after.seen[3].headers["range"].startswith("bytes=")
    assert (tmp_path / "out.pt").read_bytes() == ARTIFACT
