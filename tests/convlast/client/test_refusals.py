from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from convlast.client import Client
from convlast.errors import RemoteError
from tests.convlast.client.answering import problem
from tests.convlast.client.fake_service import FakeService

NGINX = {"Server": "nginx/1.27.0", "Content-Type": "text/html"}
LARGE_BYTES = 32 << 20
"""More than the buffers of two sockets hold."""


def page(status: int, title: str, **headers: str) -> httpx.Response:
    """Return a page as nginx writes it."""
    text = f"<html><head><title>{title}</title></head></html>"
    return httpx.Response(status, headers={**NGINX, **headers}, text=text)


def refused(response: httpx.Response, source: Path, most: int = 1) -> RemoteError:
    """Return the error for an answer to an upload, after checking how often it was tried."""
    service = FakeService()
    service.faults["upload"] = [response] * 9
    with service.client(attempts=3) as client, pytest.raises(RemoteError) as caught:
        client.convert(source, source.with_name("out.pt"))
    assert len(service.of_kind("upload")) == most
    assert [path.name for path in source.parent.iterdir()] == [source.name]
    return caught.value


def test_a_problem_is_raised_under_its_own_code(source: Path) -> None:
    """The error has the code and the text of the problem document."""
    error = refused(problem(422, "unsafe-checkpoint", detail="It asks for os.system."), source)
    assert error.code == "unsafe-checkpoint"
    assert str(error) == "It asks for os.system."


def test_an_internal_error_comes_with_its_request_id(source: Path) -> None:
    """The id is all that leads to the cause, which is in the log of the service alone."""
    detail = "The request id leads to it in the log."
    error = refused(problem(500, "internal", detail=detail, request_id="abc123"), source)
    assert error.message == f"{detail} It is abc123."
    assert error.details == {"request_id": "abc123"}


@pytest.mark.parametrize(
    ("status", "code", "most"),
    [
        (429, "too-many-requests", 3),
        (503, "not-ready", 3),
        (504, "timed-out", 1),
        (500, "worker-crashed", 1),
        (507, "storage-full", 1),
    ],
)
def test_what_the_service_refuses_for_now_is_asked_again(
    status: int, code: str, most: int, source: Path
) -> None:
    """What it will refuse again is not, such as a job that took too long."""
    assert refused(problem(status, code), source, most).code == code


@pytest.mark.parametrize(
    ("status", "code", "most"),
    [
        (429, "too-many-requests", 3),
        (502, "not-ready", 3),
        (503, "not-ready", 3),
        (504, "timed-out", 3),
        (500, "internal", 1),
        (401, "unauthorized", 1),
        (403, "unauthorized", 1),
        (404, "not-found", 1),
        (418, "malformed-request", 1),
    ],
)
def test_a_gateway_is_told_from_the_service(
    status: int, code: str, most: int, source: Path
) -> None:
    """Its page is named with the status and with what answered, and something can be done."""
    error = refused(page(status, "Some Words"), source, most)
    assert error.code == code
    assert error.message.startswith(f"nginx/1.27.0 answered {status} ")
    assert "(Some Words), and not the service." in error.message
    assert error.remedy
    assert ("tried 3 times" in error.message) == (most == 3)


@pytest.mark.parametrize(
    "body",
    [{"code": "queue-full"}, {"type": "about:blank", "title": "Bad Gateway"}, ["queue-full"]],
    ids=repr,
)
def test_a_problem_document_of_a_gateway_is_not_the_services(body: object, source: Path) -> None:
    """Only one whose type and code are ours is."""
    headers = {"Content-Type": "application/problem+json"}
    error = refused(httpx.Response(502, headers=headers, json=body), source, most=3)
    assert "answered 502 Bad Gateway, and not the service" in error.message


def test_a_gateway_that_does_not_wait_is_explained(source: Path) -> None:
    """Its timeout is not the service's: it says how long it waited, and how to raise it."""
    error = refused(page(504, "504 Gateway Time-out"), source, most=3)
    assert error.remedy.startswith("It gave up after 0 s, while the service may")
    assert "proxy_read_timeout" in error.remedy


def test_a_gateway_for_small_uploads_is_explained(source: Path) -> None:
    """The file's size and nginx's setting are named."""
    error = refused(page(413, "413 Request Entity Too Large"), source)
    assert error.code == "upload-too-large"
    assert "an upload of 12 bytes" in error.remedy
    assert "client_max_body_size" in error.remedy


@pytest.mark.parametrize(
    ("location", "told", "remedy"),
    [
        ("https://service/convert?filename=a", "leads to https://service (301", "Give that one"),
        ("https://other/base/convert/", "leads to https://other/base (301", "Give that one"),
        ("/login?next=%2F", "leads to http://service/login (301", "a login page"),
        ("https://user:secret@other/", "leads to https://other (301", "a login page"),
    ],
)
def test_a_redirect_is_explained_and_not_followed(
    location: str, told: str, remedy: str, source: Path
) -> None:
    """The key and the checkpoint go nowhere but to the address that was given."""
    error = refused(httpx.Response(301, headers={"Location": location}), source)
    assert error.code == "not-found"
    assert told in error.message
    assert remedy in error.remedy


@contextmanager
def refusing_early(answer: bytes, *, is_rude: bool) -> Iterator[str]:
    """Yield the address of a server that answers before it has read the body, and stops reading.

    Args:
        answer: What it sends.
        is_rude: Whether it closes at once, so that the system resets the connection.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(1 << 12)
                    connection.sendall(answer)
                    if not is_rude:
                        connection.shutdown(socket.SHUT_WR)
                        while connection.recv(1 << 20):
                            pass

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize("is_rude", [True, False])
@pytest.mark.parametrize(("status", "code"), [(413, "upload-too-large"), (401, "unauthorized")])
def test_a_refusal_in_the_midst_of_an_upload_is_shown(
    status: int, code: str, is_rude: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that refuses by the headers closes the connection; its reason is still read."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    large = tmp_path / "large.pt"
    with large.open("wb") as file:
        file.truncate(LARGE_BYTES)
    answer = b"HTTP/1.1 %d No\r\nServer: small\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    with (
        refusing_early(answer % status, is_rude=is_rude) as url,
        Client(url, attempts=1) as client,
        pytest.raises(RemoteError) as caught,
    ):
        client.convert(large, tmp_path / "out.pt")
    assert caught.value.code == code
    assert f"small answered {status} No" in caught.value.message
