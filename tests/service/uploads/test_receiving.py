"""Uploads over raw connections, as hostile or impatient clients send them."""

from __future__ import annotations

import base64
import hashlib
import socket
from pathlib import Path

import pytest

from tests.service.running import Running, Serve, wait_for

HEAD = (
    b"POST /convert%b HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\n"
    b"Content-Length: %d\r\n%b\r\n"
)
HUGE_BYTES = 1 << 40


def head(query: bytes = b"", length_bytes: int = HUGE_BYTES, more: bytes = b"") -> bytes:
    """Return the head of a request with a raw body."""
    return HEAD % (query, length_bytes, more)


def read_all(connection: socket.socket) -> bytes:
    """Read until the service closes the connection."""
    with connection.makefile("rb") as stream:
        return stream.read()


@pytest.mark.parametrize("expect", [b"Expect: 100-continue\r\n", b""])
@pytest.mark.parametrize(
    ("query", "length_bytes", "more", "status"),
    [
        (b"", HUGE_BYTES, b"", b"413"),
        (b"?smok=none", 1000, b"", b"422"),
        (b"?smoke=maybe", 1000, b"", b"422"),
        (b"", 1000, b"Accept: image/png\r\n", b"406"),
        (b"", 1000, b"Content-Encoding: gzip\r\n", b"415"),
        (b"", 1000, b"Content-Digest: nonsense\r\n", b"400"),
    ],
)
def test_refusals_come_before_the_body(
    service: Running, query: bytes, length_bytes: int, more: bytes, status: bytes, expect: bytes
) -> None:
    """A refusal by the headers comes before the body, and without 100 Continue."""
    with service.connect() as connection:
        connection.sendall(head(query, length_bytes, more + expect))
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert b"100 Continue" not in answer
    assert b"connection: close" in answer


def test_a_list_in_several_lines_is_one_list(service: Running) -> None:
    """A field in several lines counts as a whole: digests, encodings and media types."""
    right, wrong = (base64.b64encode(hashlib.sha256(each).digest()) for each in (b"fine", b"evil"))
    digests = b"Content-Digest: unknown=:eA==:\r\nContent-Digest: sha-256=:%b:\r\n"
    for more, start in (
        (digests % right, b"HTTP/1.1 200"),
        (digests % wrong, b"HTTP/1.1 400"),
        (b"Content-Encoding: identity\r\nContent-Encoding: gzip\r\n", b"HTTP/1.1 415"),
        (b"Accept: text/html\r\nAccept: application/json\r\n", b"HTTP/1.1 200"),
    ):
        with service.connect() as connection:
            connection.sendall(head(length_bytes=4, more=more + b"Connection: close\r\n") + b"fine")
            assert read_all(connection).startswith(start), more


def test_a_client_that_sends_on_still_gets_the_refusal(service: Running) -> None:
    """A client that is still sending gets the refusal, not only a reset."""
    with service.connect() as connection:
        connection.sendall(head())
        try:
            for _ in range(64):
                connection.sendall(bytes(1 << 20))
        except OSError:
            pass
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 413")


def test_100_continue_is_answered_where_the_body_is_wanted(service: Running) -> None:
    """A client that expects 100 Continue gets it, and then its answer."""
    with service.connect() as connection:
        connection.sendall(head(length_bytes=4, more=b"Expect: 100-continue\r\n"))
        assert connection.recv(1 << 16) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"fine")
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200 OK")


def test_a_body_is_counted_while_it_comes(serve: Serve) -> None:
    """A body without a Content-Length is refused at the size limit."""
    service = serve(max_upload_bytes=1 << 20)
    with service.connect() as connection:
        connection.sendall(
            b"POST /convert HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
            b"Content-Type: application/octet-stream\r\n\r\n"
        )
        chunk = b"%x\r\n%b\r\n" % (1 << 16, bytes(1 << 16))
        try:
            for _ in range(1000):
                connection.sendall(chunk)
        except OSError:
            pass
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 413")
    assert service.settled_files() == set()


def test_a_client_that_leaves_half_way_up_frees_everything(service: Running) -> None:
    """After an aborted upload, its place and its file are free at once."""
    before = service.settled_files()
    with service.connect() as connection:
        connection.sendall(head(length_bytes=10_000_000) + bytes(5_000_000))
        wait_for(lambda: service.files() > before)
        assert service.metric("convlast_places_taken") == 1
    wait_for(lambda: service.files() == before)
    wait_for(lambda: service.metric("convlast_places_taken") == 0)


def test_a_client_that_leaves_stops_its_job(service: Running) -> None:
    """The job of a client that disconnects is stopped, and the next one runs."""
    before = service.settled_files()
    with service.connect() as connection:
        connection.sendall(head(length_bytes=5) + b"hangs")
        wait_for(lambda: service.files() > before)
    wait_for(lambda: service.files() == before)
    assert service.convert(b"fine").status_code == 200


@pytest.mark.parametrize("accept", ["application/zip", "application/octet-stream"])
def test_a_client_that_leaves_half_way_down_frees_everything(serve: Serve, accept: str) -> None:
    """After an aborted download, no file stays open or outside the store."""
    service = serve()
    size_bytes = 64 << 20
    with service.connect() as connection:
        more = f"Accept: {accept}\r\n".encode()
        connection.sendall(head(length_bytes=size_bytes, more=more) + bytes(size_bytes))
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
    wait_for(lambda: not list((service.work_dir / "jobs").iterdir()))
    wait_for(lambda: not open_files(service))


def test_a_client_that_takes_nothing_is_left(serve: Serve) -> None:
    """A stalled download ends, its files are removed, and it does not delay the exit."""
    service = serve(client_idle_s=2)
    size_bytes = 64 << 20
    with service.connect() as connection:
        connection.sendall(head(length_bytes=size_bytes) + bytes(size_bytes))
        wait_for(lambda: list((service.work_dir / "jobs").iterdir()))
        wait_for(lambda: not list((service.work_dir / "jobs").iterdir()))
        wait_for(lambda: not open_files(service))
        assert service.stop() == 0


def test_an_upload_larger_than_the_disk_is_refused(serve: Serve) -> None:
    """If the disk space is not enough, the body is not read."""
    service = serve(max_upload_bytes=HUGE_BYTES << 10)
    with service.connect() as connection:
        connection.sendall(head(length_bytes=HUGE_BYTES << 10))
        assert read_all(connection).startswith(b"HTTP/1.1 507")


def open_files(service: Running) -> list[str]:
    """Return the work folder's files that the service has open, apart from permanent ones.

    The permanent ones are the lock, and the output of each idle worker.
    """
    names = []
    for descriptor in Path(f"/proc/{service.process.pid}/fd").iterdir():
        try:
            names.append(str(descriptor.readlink()))
        except OSError:
            continue
    inside = [name for name in names if name.startswith(str(service.work_dir))]
    printed = [name for name in inside if name.endswith("/output (deleted)")]
    # In each of two lanes one worker may run a job while the next one waits.
    assert len(printed) <= 4, printed
    return [name for name in inside if name not in printed and not name.endswith("/lock")]
