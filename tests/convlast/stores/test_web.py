"""Objects behind https:// addresses, with a server that is a function."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from convlast.errors import (
    SourceChangedError,
    SourceNotFoundError,
    StoreError,
    StoreUnavailableError,
)
from convlast.stores.address import Address
from convlast.stores.opening import StoreOptions
from convlast.stores.reading import fetch, stat
from tests.stores.quick import run

ADDRESS = Address.parse("https://host/models/a%20b.pt?signature=hunter2")
CONTENT = os.urandom(5000)


class WebServer(httpx.AsyncBaseTransport):
    """A server with one object.

    Attributes:
        etag: Its version; none if empty.
        has_ranges: Whether it knows ranges.
        cuts: How many answers it cuts after some bytes.
        status: What it answers, if that is always the same.
        requests: What it was asked.
    """

    def __init__(self, content: bytes = CONTENT, etag: str = '"1"', **faults: int) -> None:
        self.content = content
        self.etag = etag
        self.has_ranges = bool(faults.get("has_ranges", 1))
        self.cuts = faults.get("cuts", 0)
        self.status = faults.get("status", 0)
        self.requests: list[httpx.Request] = []

    @property
    def options(self) -> StoreOptions:
        """Ask this server."""
        return StoreOptions(timeout_s=5, patience_s=0.5, part_bytes=1000, http=self)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer."""
        self.requests.append(request)
        if self.status:
            return httpx.Response(
                self.status, stream=Body(b"", False), headers={"Location": "https://127.0.0.1/"}
            )
        if request.headers.get("If-Match", self.etag) != self.etag:
            return httpx.Response(412)
        headers = {"ETag": self.etag} if self.etag else {}
        if not self.has_ranges:
            headers["Content-Length"] = str(len(self.content))
            return httpx.Response(200, headers=headers, stream=self._body(self.content))
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers["Range"])
        assert found is not None
        start, last = int(found[1]), min(int(found[2]), len(self.content) - 1)
        if start > last:
            headers["Content-Range"] = f"bytes */{len(self.content)}"
            return httpx.Response(416, headers=headers)
        headers["Content-Range"] = f"bytes {start}-{last}/{len(self.content)}"
        body = self.content[start : last + 1]
        return httpx.Response(206, headers=headers, stream=self._body(body))

    def _body(self, content: bytes) -> httpx.AsyncByteStream:
        is_cut, self.cuts = self.cuts > 0, self.cuts - 1
        return Body(content, is_cut)


class Body(httpx.AsyncByteStream):
    """A body, of which half may be missing."""

    def __init__(self, content: bytes, is_cut: bool) -> None:
        self._content = content
        self._is_cut = is_cut

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield it in two pieces."""
        half = len(self._content) // 2
        yield self._content[:half]
        if self._is_cut:
            raise httpx.ReadError("cut")
        yield self._content[half:]


@pytest.mark.parametrize("etag", ['"1"', 'W/"1"', ""])
@pytest.mark.parametrize("has_ranges", [0, 1])
@pytest.mark.parametrize("cuts", [0, 3])
def test_an_object_is_fetched(tmp_path: Path, etag: str, has_ranges: int, cuts: int) -> None:
    """With and without ranges and versions, and when the line is cut."""
    server = WebServer(etag=etag, has_ranges=has_ranges, cuts=cuts)
    fetched = run(fetch(ADDRESS, tmp_path / "back", server.options))
    assert (tmp_path / "back").read_bytes() == CONTENT
    assert fetched.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert (fetched.size_bytes, fetched.version) == (5000, etag)
    assert {request.method for request in server.requests} == {"GET"}
    assert {str(request.url) for request in server.requests} == {ADDRESS.text}


def test_an_empty_object_is_fetched(tmp_path: Path) -> None:
    """A server says of it that no range of it can be had."""
    fetched = run(fetch(ADDRESS, tmp_path / "back", WebServer(content=b"").options))
    assert (fetched.size_bytes, (tmp_path / "back").read_bytes()) == (0, b"")


@pytest.mark.parametrize("etag", ['"1"', 'W/"1"'])
def test_an_object_that_changes_is_noticed(tmp_path: Path, etag: str) -> None:
    """Whether the server compares, or only says which version it is."""
    server = WebServer(etag=etag)

    def change(_count: int) -> None:
        server.etag = etag.replace("1", "2")

    with pytest.raises(SourceChangedError):
        run(fetch(ADDRESS, tmp_path / "back", server.options, taken=change))
    assert not (tmp_path / "back").exists()


@pytest.mark.parametrize(
    ("status", "kind", "reason"),
    [
        (302, StoreUnavailableError, "refused"),
        (403, StoreUnavailableError, "credentials"),
        (404, SourceNotFoundError, None),
        (500, StoreUnavailableError, "failing"),
    ],
)
def test_a_refusal_is_said(status: int, kind: type[StoreError], reason: str | None) -> None:
    """What it means, without the signature; no redirect is followed."""
    server = WebServer(status=status)
    with pytest.raises(kind) as error:
        run(stat(ADDRESS, server.options))
    assert error.value.details.get("reason") == reason
    assert "hunter2" not in f"{error.value!r} {error.value.details} {error.value.__context__!r}"
    assert (len(server.requests) > 1) == (status == 500)
    assert {request.url.host for request in server.requests} == {"host"}


def test_a_server_that_hides_the_size_is_refused() -> None:
    """Nobody could say how much room the object needs, or whether all of it came."""
    server = WebServer(has_ranges=0)
    server.status = 200
    with pytest.raises(StoreUnavailableError, match="how large"):
        run(stat(ADDRESS, server.options))
