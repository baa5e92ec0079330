"""An object behind an https:// address, such as a presigned one.

Only GET is used, since a presigned address allows nothing else.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import httpx

from convlast.errors import StoreUnavailableError
from convlast.stores.address import Address
from convlast.stores.opening import StoreOptions
from convlast.stores.refusals import changed, of_status, translated
from convlast.stores.source import Stat

_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+)")


class WebSource:
    """An object behind an https:// address."""

    def __init__(self, address: Address, client: httpx.AsyncClient) -> None:
        self._address = address
        self._client = client

    async def stat(self) -> Stat:
        """Return what is known of it: asked for one byte, a server says how many there are."""
        async with self._asked(0, 1, "") as answer:
            return self._stat_of(answer)

    async def read(self, start: int, stop: int, stat: Stat) -> AsyncGenerator[memoryview]:
        """Yield the bytes of a range, piece by piece."""
        async with self._asked(start, stop, stat.version) as answer:
            found = self._stat_of(answer)
            if (found.size_bytes, found.version) != (stat.size_bytes, stat.version):
                raise changed(self._address)
            skipped = 0 if found.is_ranged else start
            async for piece in answer.aiter_raw():
                beyond = max(0, skipped - len(piece))
                if len(piece) > skipped:
                    yield memoryview(piece)[skipped:]
                skipped = beyond

    @asynccontextmanager
    async def _asked(self, start: int, stop: int, version: str) -> AsyncIterator[httpx.Response]:
        """Ask for a range, and return the answer, whose body is still to come."""
        fields = {"Accept-Encoding": "identity", "Range": f"bytes={start}-{stop - 1}"}
        if version.startswith('"'):  # a weak one never matches
            fields["If-Match"] = version
        with translated(self._address):
            async with self._client.stream("GET", self._address.text, headers=fields) as answer:
                is_empty = answer.status_code == 416 and start == 0
                if answer.status_code not in {200, 206} and not is_empty:
                    raise of_status(answer.status_code, self._address)
                yield answer

    def _stat_of(self, answer: httpx.Response) -> Stat:
        version = answer.headers.get("ETag", "")
        if found := _RANGE.fullmatch(answer.headers.get("Content-Range", "")):
            return Stat(int(found[2]), version)
        size = answer.headers.get("Content-Length", "")
        if answer.status_code == 200 and size.isdecimal():
            return Stat(int(size), version, is_ranged=False)
        raise StoreUnavailableError(
            f"The server of {self._address} does not say how large the object is.",
            address=str(self._address),
            reason="refused",
        )


@asynccontextmanager
async def web_client(options: StoreOptions) -> AsyncIterator[httpx.AsyncClient]:
    """Have a client that follows no redirect."""
    client = httpx.AsyncClient(
        transport=options.http,
        timeout=options.timeout_s,
        follow_redirects=False,
        trust_env=options.http is None,
    )
    if options.http is not None:  # its connections are those of who gave it
        yield client
        return
    async with client:
        yield client
