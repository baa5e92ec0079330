"""The bounds of a connection before, between and after requests."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator

import httpx
import pytest

from service.connection.connections import MAX_HEAD_BYTES, MAX_PIPELINED
from tests.service.connection.raw_http import GET, UPLOAD, read_all
from tests.service.running import Running, Serve, served, wait_for


@pytest.fixture(scope="module")
def hurried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Run a service with a short idle timeout and at most eight connections."""
    with served(
        tmp_path_factory.mktemp("hurried"), client_idle_s=0.3, max_connections=8
    ) as running:
        yield running


@pytest.mark.parametrize("first", [b"", GET, GET[:10], b"\r\n"])
def test_a_head_that_does_not_come_ends_the_connection(hurried: Running, first: bytes) -> None:
    """A silent client, or one that sends a part of a head, is disconnected at the idle timeout."""
    with hurried.connect() as connection:
        connection.sendall(first)
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 408") == bool(first)
    if first:
        assert b"upload-too-slow" in answer


@pytest.mark.parametrize("idle_s", ["inf", 1e9])
def test_a_client_may_be_given_all_the_time(serve: Serve, idle_s: float | str) -> None:
    """An idle timeout beyond the kernel's maximum is cut to that maximum."""
    assert serve(client_idle_s=idle_s).convert(b"fine").status_code == 200


def test_a_head_that_drips_ends_too(hurried: Running) -> None:
    """The time limit is for the whole head, so a header now and then does not extend it."""
    with hurried.connect() as connection:
        connection.sendall(GET)

        def drip() -> bool:
            try:
                connection.sendall(b"X-A: b\r\n")
            except OSError:
                return True
            return False

        wait_for(drip)


@pytest.mark.parametrize("filler", [b"X-A: b\r\n", b"x", b"\r\n"])
def test_a_head_without_end_is_refused(service: Running, filler: bytes) -> None:
    """Many headers, one long header, and empty lines are all bounded."""
    with service.connect() as connection:
        connection.sendall(GET if filler != b"\r\n" else b"")
        with contextlib.suppress(OSError):
            connection.sendall(filler * (8 * MAX_HEAD_BYTES // len(filler)))
        answer = read_all(connection)
    assert not answer or answer.startswith(b"HTTP/1.1 400")


def test_a_head_of_fair_size_is_taken(service: Running) -> None:
    """Sixty headers of a hundred bytes, as proxies add them, are accepted."""
    with service.connect() as connection:
        fields = b"".join(b"X-%d: %b\r\n" % (number, b"v" * 100) for number in range(60))
        connection.sendall(GET + fields + b"Connection: close\r\n\r\n")
        assert read_all(connection).startswith(b"HTTP/1.1 200")


def test_trailers_are_no_fields_of_the_head(service: Running) -> None:
    """A trailer never replaces a header (RFC 9110, section 6.5)."""
    with service.connect() as connection:
        connection.sendall(
            b"POST /convert HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
            b"Content-Type: application/octet-stream\r\nConnection: close\r\n\r\n"
            b"4\r\nfine\r\n0\r\nAuthorization: Bearer nonsense\r\nAccept: text/html\r\n\r\n"
        )
        assert read_all(connection).startswith(b"HTTP/1.1 200")


def test_trailers_without_end_are_refused(service: Running) -> None:
    """Trailers cannot fill the memory either."""
    with service.connect() as connection:
        connection.sendall(
            b"POST /convert HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
            b"Content-Type: application/octet-stream\r\n\r\n4\r\nfine\r\n0\r\n"
        )
        trailer = b"X-A: " + b"b" * MAX_HEAD_BYTES + b"\r\n"
        with pytest.raises(OSError):  # noqa: PT011  # reset, or a broken pipe
            connection.sendall(trailer * 1000)
    wait_for(lambda: service.metric("convlast_places_taken") == 0)


def test_requests_that_follow_at_once_are_all_answered(service: Running) -> None:
    """Three pipelined requests get three answers, each with its own headers."""
    with service.connect() as connection:
        one = GET + b"X-Request-ID: %d\r\n\r\n"
        last = GET + b"X-Request-ID: 3\r\nConnection: close\r\n\r\n"
        connection.sendall(one % 1 + one % 2 + last)
        answer = read_all(connection)
    assert answer.count(b"HTTP/1.1 200") == 3
    for number in (b"1", b"2", b"3"):
        assert b"x-request-id: " + number in answer


@pytest.mark.parametrize(
    ("version", "hosts", "status"),
    [
        (b"1.1", 0, b"400"),
        (b"1.1", 1, b"200"),
        (b"1.1", 2, b"400"),
        (b"1.0", 0, b"200"),
        (b"1.0", 2, b"400"),
    ],
)
def test_one_host_is_named(service: Running, version: bytes, hosts: int, status: bytes) -> None:
    """A request needs one Host field, or none in HTTP/1.0 (RFC 9112, section 3.2)."""
    with service.connect() as connection:
        fields = b"Host: x\r\n" * hosts + b"Connection: close\r\n\r\n"
        connection.sendall(b"GET /livez HTTP/%b\r\n" % version + fields)
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert status == b"200" or b"%d Host fields" % hosts in answer
    assert b"\r\ndate: " in answer


@pytest.mark.parametrize("broken", [b"zz\r\n", b"4\r\nfine5\r\n"])
def test_a_body_that_breaks_is_answered(service: Running, broken: bytes) -> None:
    """A bad chunk, first or later, is answered with 400 and leaves nothing behind."""
    with service.connect() as connection:
        connection.sendall(UPLOAD + b"Transfer-Encoding: chunked\r\n\r\n4\r\nfine\r\n")
        wait_for(lambda: service.metric("convlast_places_taken") == 1)
        connection.sendall(broken)
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"malformed-request" in answer
    wait_for(lambda: service.metric("convlast_places_taken") == 0)
    assert not list((service.work_dir / "jobs").iterdir())


def test_an_answer_under_way_is_not_mixed_up(service: Running) -> None:
    """Garbage after a request that is being answered is not answered in its place."""
    with service.connect() as connection:
        connection.sendall(UPLOAD + b"Content-Length: 10\r\n\r\nsleeps 0.3nonsense\r\n\r\n")
        assert b"HTTP/1.1 400" not in read_all(connection)


def test_those_who_wait_longest_make_way(serve: Serve) -> None:
    """A probe is answered and a job goes on while idle connections take all places."""
    service = serve(max_connections=8)
    with contextlib.ExitStack() as held:
        working = begin_upload(service, held)
        for _ in range(40):
            held.enter_context(service.connect())
        assert httpx.get(f"{service.url}/livez", trust_env=False).status_code == 200
        working.sendall(b"ine")
        assert read_all(working).startswith(b"HTTP/1.1 200")


def test_where_all_work_only_probes_are_answered(serve: Serve) -> None:
    """If every connection has a request, only probes are answered, and others get 503."""
    service = serve(max_connections=2)
    with contextlib.ExitStack() as held:
        uploads = [begin_upload(service, held), begin_upload(service, held)]
        for path, status in (("livez", 200), ("readyz", 200), ("metrics", 200), ("version", 503)):
            answer = httpx.get(f"{service.url}/{path}", trust_env=False)
            assert answer.status_code == status
            assert answer.headers["connection"] == "close"
        assert answer.json()["code"] == "queue-full"
        assert int(answer.headers["retry-after"]) > 0
        for each in uploads:
            each.sendall(b"ine")
            assert read_all(each).startswith(b"HTTP/1.1 200")


def test_a_refusal_that_lingers_makes_way(serve: Serve) -> None:
    """A refused client that keeps sending can read the refusal, and blocks no other client."""
    service = serve(max_connections=8)
    upload = UPLOAD.replace(b"Accept: ", b"X-Accept: ") + b"Accept: image/png\r\n"
    with contextlib.ExitStack() as held:
        working = begin_upload(service, held)
        for _ in range(20):
            lingering = held.enter_context(service.connect())
            lingering.sendall(upload + b"Content-Length: 100000\r\n\r\nabc")
            assert lingering.recv(12) == b"HTTP/1.1 406"
        for _ in range(20):
            answer = httpx.get(f"{service.url}/version", trust_env=False)
            assert answer.status_code == 200
        working.sendall(b"ine")
        assert read_all(working).startswith(b"HTTP/1.1 200")


def test_who_sends_no_more_gets_the_answer(service: Running) -> None:
    """A client may close its sending side after the request (RFC 9112, section 9.6)."""
    content = b"sleeps 1.2"
    upload = UPLOAD + b"Content-Length: %d\r\n\r\n" % len(content) + content
    with service.connect() as connection:
        connection.sendall(upload)
        connection.shutdown(socket.SHUT_WR)
        answer = read_all(connection)
    *interim, final = answer.split(b"HTTP/1.1 ")[1:]
    assert interim
    assert set(interim) == {b"100 Continue\r\n\r\n"}
    assert final.startswith(b"200 OK")
    assert final.endswith(content)


def test_who_sends_half_a_request_and_no_more_is_gone(service: Running) -> None:
    """A client that closes its sending side in the middle of a body is disconnected."""
    with service.connect() as connection:
        connection.sendall(UPLOAD + b"Content-Length: 10\r\n\r\nfine")
        wait_for(lambda: service.metric("convlast_places_taken") == 1)
        connection.shutdown(socket.SHUT_WR)
        assert read_all(connection) == b""
    wait_for(lambda: service.metric("convlast_places_taken") == 0)


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_who_is_gone_both_ways_waits_for_no_job(service: Running, version: bytes) -> None:
    """A job is stopped if its client closes the connection in both directions."""
    upload = UPLOAD.replace(b"HTTP/1.1", b"HTTP/" + version)
    with service.connect() as connection:
        connection.sendall(upload + b"Content-Length: 9\r\n\r\nsleeps 60")
        wait_for(lambda: service.metric("convlast_places_taken") == 1)
    wait_for(lambda: service.metric("convlast_places_taken") == 0)


def test_requests_without_end_that_follow_at_once_are_refused(service: Running) -> None:
    """Only a few requests may be pipelined, since each one takes memory until its turn."""
    with service.connect() as connection, contextlib.suppress(OSError):
        connection.sendall((GET + b"\r\n") * 5000)
        assert read_all(connection).count(b"HTTP/1.1 200") <= MAX_PIPELINED + 1
    wait_for(lambda: httpx.get(f"{service.url}/livez", trust_env=False).status_code == 200)


def test_whoever_leaves_is_gone_with_all_requests(service: Running) -> None:
    """If a client disconnects, all its pipelined requests end, and none logs an error."""
    content = b"sleeps 60"
    upload = UPLOAD + b"Content-Length: %d\r\n\r\n" % len(content) + content
    with service.connect() as connection:
        connection.sendall(upload + upload + GET + b"\r\n")
        wait_for(lambda: service.metric("convlast_places_taken") == 1)
        linger_no_more = struct.pack("ii", 1, 0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_no_more)
    wait_for(lambda: service.metric("convlast_places_taken") == 0)
    assert "request failed" not in service.log.read_text()


def begin_upload(service: Running, held: contextlib.ExitStack) -> socket.socket:
    """Open a connection, and send all but the last three bytes of `fine`."""
    jobs = service.work_dir / "jobs"
    before = len(list(jobs.glob("*/upload")))
    connection = held.enter_context(service.connect())
    connection.sendall(
        b"POST /convert HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nConnection: close\r\n"
        b"Content-Type: application/octet-stream\r\n\r\nf"
    )
    wait_for(lambda: len(list(jobs.glob("*/upload"))) == before + 1)
    return connection
