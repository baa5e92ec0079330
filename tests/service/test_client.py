"""The client, against services."""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from convlast.client import INSPECTED, Client
from convlast.errors import RemoteError, VerificationError
from convlast.options import Options
from convlast.report import Report
from service.uploads.sources import OPTION_NAMES
from tests.service.running import Running, Serve, start

CONTENT = b"a checkpoint of some kind " * 50_000


def test_an_inspection_takes_the_options_that_the_client_sends() -> None:
    """The service refuses all others."""
    assert set(OPTION_NAMES["inspect"]) == INSPECTED


@contextmanager
def impatient(port: int, idle_s: float, cuts: list[float]) -> Iterator[str]:
    """Yield the address of a proxy that cuts connections which are idle for so long.

    Args:
        port: The service's.
        idle_s: The limit.
        cuts: Gets the limit for each connection that was cut.
    """
    with ExitStack() as held:
        listener = held.enter_context(socket.create_server(("127.0.0.1", 0)))
        pumps: list[threading.Thread] = []

        def serve() -> None:
            while True:
                try:
                    front, _ = listener.accept()
                except OSError:
                    return
                back = socket.create_connection(("127.0.0.1", port))
                held.enter_context(front)
                held.enter_context(back)
                pumps.append(threading.Thread(target=pump, args=(front, back, idle_s, cuts)))
                pumps[-1].start()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            for each in (thread, *pumps):
                each.join()


def pump(front: socket.socket, back: socket.socket, idle_s: float, cuts: list[float]) -> None:
    """Pass bytes both ways until a side has ended, or neither has sent anything for so long."""
    other = {front: back, back: front}
    with suppress(OSError):
        while True:
            ready, _, _ = select.select([front, back], [], [], idle_s)
            if not ready:
                cuts.append(idle_s)
                break
            pieces = [(each, each.recv(1 << 16)) for each in ready]
            for each, piece in pieces:
                other[each].sendall(piece)
            if not all(piece for _, piece in pieces):
                break
    for each in (front, back):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a checkpoint for the fake task."""
    path = tmp_path / "model.pt"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask the services of these tests directly."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def test_a_gateway_that_cuts_idle_connections_costs_nothing(
    serve: Serve, source: Path, tmp_path: Path
) -> None:
    """The job goes on, its stages are shown, and the file is sent once."""
    source.write_bytes(b"sleeps 6 ")
    service = serve()
    cuts: list[float] = []
    told: list[tuple[str, int, int]] = []
    with impatient(service.port, 2.0, cuts) as url, Client(url) as client:
        report = client.convert(
            source, tmp_path / "out.pt", progress=lambda *each: told.append(each)
        )
    assert report.artifact is not None
    assert (tmp_path / "out.pt").read_bytes() == b"sleeps 6 "
    assert cuts
    assert ("upload", 9, 9) in told
    assert [done for stage, done, _ in told if stage == "upload"].count(0) == 1
    assert told[-1] == ("download", 9, 9)


def test_the_same_conversion_is_sent_and_run_once(
    serve: Serve, source: Path, tmp_path: Path
) -> None:
    """The second call gets the first one's result, and uploads nothing."""
    service = serve()
    stages: list[str] = []
    with Client(service.url) as client:
        client.convert(source, tmp_path / "one.pt")
        client.convert(source, tmp_path / "two.pt", progress=lambda stage, *_: stages.append(stage))
        client.convert(source, tmp_path / "three.pt", Options(smoke="none"))
        jobs = list(client.jobs())
    assert set(stages) == {"download"}
    assert [job.options for job in jobs] == [{"smoke": "none"}, {}]
    assert {path.read_bytes() for path in tmp_path.glob("*o*.pt")} == {CONTENT}


def test_a_conversion_outlives_the_service_that_runs_it(
    serve: Serve, source: Path, tmp_path: Path
) -> None:
    """The service is killed and started again; the job is run anew, and the client waits."""
    source.write_bytes(b"sleeps 4 ")
    service = serve()
    running = threading.Event()
    reports: list[Report] = []

    def note(stage: str, *_: int) -> None:
        if stage not in {"upload", "queue"}:
            running.set()

    def convert() -> None:
        with Client(service.url) as client:
            reports.append(client.convert(source, tmp_path / "out.pt", progress=note))

    thread = threading.Thread(target=convert)
    thread.start()
    assert running.wait(30)
    service.process.kill()
    service.process.wait()
    again = start(tmp_path, port=service.port)
    try:
        thread.join(60)
        assert not thread.is_alive()
        with Client(service.url) as client:
            assert [(job.state, job.attempts) for job in client.jobs()] == [("succeeded", 2)]
    finally:
        again.stop()
    assert reports
    assert (tmp_path / "out.pt").read_bytes() == b"sleeps 4 "


def test_a_job_is_followed_cancelled_and_removed(serve: Serve, source: Path) -> None:
    """The statuses are those of the service, which has nothing left in the end."""
    source.write_bytes(b"hangs")
    service = serve()
    with Client(service.url) as client:
        job = client.submit(source)
        assert client.submit(source).id == job.id
        followed = client.follow(job.id)
        assert next(followed).state in {"queued", "running"}
        assert client.cancel(job.id).state == "cancelled"
        assert [status.state for status in followed][-1] == "cancelled"
        assert client.cancel(job.id).state == "cancelled"
        client.remove(job.id)
        with pytest.raises(RemoteError) as caught:
            client.job(job.id)
        assert caught.value.code == "gone"
        assert list(client.jobs()) == []


def test_an_interrupted_conversion_is_cancelled(serve: Serve, source: Path, tmp_path: Path) -> None:
    """Ctrl-C on the client ends the work of the service."""
    source.write_bytes(b"hangs")
    service = serve()

    def interrupt(stage: str, *_: int) -> None:
        if stage not in {"upload", "queue"}:
            os.kill(os.getpid(), signal.SIGINT)

    with Client(service.url) as client:
        with pytest.raises(KeyboardInterrupt):
            client.convert(source, tmp_path / "out.pt", progress=interrupt)
        assert [job.state for job in client.jobs()] == ["cancelled"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (b"refuses", "unsafe-checkpoint"),
        (b"crashes", "worker-crashed"),
        (b"raises", "internal"),
    ],
)
def test_refusals_of_the_service_are_its_own(
    words: bytes, code: str, service: Running, source: Path
) -> None:
    """They are told from those of a gateway, with the codes of the table."""
    source.write_bytes(words)
    with Client(service.url) as client, pytest.raises(RemoteError) as caught:
        client.convert(source, source.with_name("out.pt"))
    assert caught.value.code == code
    assert "and not the service" not in str(caught.value)
    assert "request_id" in caught.value.details


def test_a_failed_proof_brings_its_report(service: Running, source: Path) -> None:
    """The error is that of a local conversion."""
    source.write_bytes(b"fails-verification 3")
    with Client(service.url) as client, pytest.raises(VerificationError) as caught:
        client.convert(source, source.with_name("out.pt"))
    assert len(caught.value.report.layers) == 3


def test_an_upload_that_is_too_large_is_refused_by_its_headers(
    serve: Serve, source: Path, tmp_path: Path
) -> None:
    """The service answers before it has read the body; the client shows the answer."""
    with source.open("ab") as file:
        file.truncate(64 << 20)
    small = serve(max_upload_bytes=1 << 20)
    with Client(small.url, attempts=1) as client, pytest.raises(RemoteError) as caught:
        client.convert(source, tmp_path / "out.pt")
    assert caught.value.code == "upload-too-large"
    assert "CONVLAST_MAX_UPLOAD_BYTES" in str(caught.value)
