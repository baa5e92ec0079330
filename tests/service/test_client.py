"""The client, against services."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from convlast.client import INSPECTED, Client
from convlast.errors import RemoteError, VerificationError
from service.jobs import OPTION_NAMES
from tests.service.running import Running, Serve

CONTENT = b"a checkpoint of some kind " * 50_000


def test_an_inspection_takes_the_options_that_the_client_sends() -> None:
    """The service refuses all others."""
    assert set(OPTION_NAMES["inspect"]) == INSPECTED


@contextmanager
def balanced(ports: list[int], seen: Counter[int]) -> Iterator[str]:
    """Yield the address of a proxy that gives each connection to the next service.

    Args:
        ports: Those of the services.
        seen: Counts the connections of each.
    """
    with ExitStack() as held:
        listener = held.enter_context(socket.create_server(("127.0.0.1", 0)))
        pumps: list[threading.Thread] = []

        def serve() -> None:
            number = 0
            while True:
                try:
                    front, _ = listener.accept()
                except OSError:
                    return
                port = ports[number % len(ports)]
                number += 1
                seen[port] += 1
                back = socket.create_connection(("127.0.0.1", port))
                for pair in ((front, back), (back, front)):
                    held.enter_context(pair[0])
                    pumps.append(threading.Thread(target=pump, args=pair))
                    pumps[-1].start()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            for each in (thread, *pumps):
                each.join()


def pump(source: socket.socket, target: socket.socket) -> None:
    """Pass bytes on until either side has ended."""
    with suppress(OSError):
        while piece := source.recv(1 << 16):
            target.sendall(piece)
    for each in (source, target):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a checkpoint for the fake task."""
    path = tmp_path / "model.pt"
    path.write_bytes(CONTENT)
    return path


def test_any_of_several_services_behind_a_balancer_will_do(
    serve: Serve, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is left on one that the other would be asked for."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    services = [
        serve(work_dir=tmp_path / name, log=tmp_path / f"{name}.log") for name in ("one", "two")
    ]
    seen: Counter[int] = Counter()
    with balanced([service.port for service in services], seen) as url:
        for number in range(4):
            with Client(url) as client:
                report = client.convert(source, tmp_path / f"{number}.pt")
                assert client.inspect(source).artifact is None
            assert report.artifact is not None
            assert report.artifact.filename == f"{number}.pt"
            assert (tmp_path / f"{number}.pt").read_bytes() == CONTENT
    assert min(seen[service.port] for service in services) >= 2
    assert not any(list((tmp_path / name / "store").iterdir()) for name in ("one", "two"))
    assert not list(tmp_path.glob(".convlast-*"))


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (b"refuses", "unsafe-checkpoint"),
        (b"crashes", "worker-crashed"),
        (b"raises", "internal"),
    ],
)
def test_refusals_of_the_service_are_its_own(
    words: bytes, code: str, service: Running, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are told from those of a gateway, with the codes of the table."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    source.write_bytes(words)
    with Client(service.url) as client, pytest.raises(RemoteError) as caught:
        client.convert(source, source.with_name("out.pt"))
    assert caught.value.code == code
    assert "and not the service" not in str(caught.value)
    assert "request_id" in caught.value.details


def test_a_failed_proof_brings_its_report(
    service: Running, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error is that of a local conversion."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    source.write_bytes(b"fails-verification 3")
    with Client(service.url) as client, pytest.raises(VerificationError) as caught:
        client.convert(source, source.with_name("out.pt"))
    assert len(caught.value.report.layers) == 3


def test_an_upload_that_is_too_large_is_refused_by_its_headers(
    serve: Serve, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service answers before it has read the body; the client shows the answer."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with source.open("ab") as file:
        file.truncate(64 << 20)
    small = serve(max_upload_bytes=1 << 20)
    with Client(small.url, attempts=1) as client, pytest.raises(RemoteError) as caught:
        client.convert(source, tmp_path / "out.pt")
    assert caught.value.code == "upload-too-large"
    assert "CONVLAST_MAX_UPLOAD_BYTES" in str(caught.value)
