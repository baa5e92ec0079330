"""A connection to one service: requests, and their answers or refusals."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx

from convlast.client.patience import Patience
from convlast.client.refusals import RefusedError, failure_of, refusal_of
from convlast.client.upload import Upload
from convlast.errors import OptionError

T = TypeVar("T")
_CONNECT_S = 10.0


@dataclass(frozen=True)
class Ask:
    """A request.

    Attributes:
        method: The method.
        path: What it asks for, below the service's address.
        params: Parameters of the URL.
        headers: Fields beside those of all requests.
        content: What is sent.
        expected: The statuses of an answer; others are refusals.
        silence_s: How long to wait for the next bytes; None for the client's own limit.
    """

    method: str
    path: str
    params: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | Upload | None = None
    expected: frozenset[int] = frozenset({200})
    silence_s: float | None = None


class Connection:
    """A connection to one service."""

    def __init__(
        self,
        url: str,
        key: str | None,
        timeout_s: float,
        transport: httpx.AsyncBaseTransport | None,
    ) -> None:
        """Prepare a connection; nothing is sent yet.

        Raises:
            OptionError: If the address is not an HTTP address, or the key cannot be sent.
        """
        if key is not None and not re.fullmatch(r"[!-~]+", key):
            raise OptionError("key", "The key is not one word of printable ASCII characters.")
        self._timeout_s = timeout_s
        self._http = httpx.AsyncClient(
            base_url=base_of(url),
            headers={
                # Weights hardly shrink, and a compressed answer could not be resumed.
                "Accept-Encoding": "identity",
                **({"Authorization": f"Bearer {key}"} if key else {}),
            },
            timeout=httpx.Timeout(timeout_s, connect=_CONNECT_S),
            transport=transport,
        )

    async def close(self) -> None:
        """Close the connection."""
        await self._http.aclose()

    @asynccontextmanager
    async def opened(self, ask: Ask) -> AsyncIterator[httpx.Response]:
        """Send a request once, and give its answer, of which the body is still to be read.

        Raises:
            RefusedError: If there is no answer, or a refusal, or the body breaks off.
        """
        silence_s = self._timeout_s if ask.silence_s is None else ask.silence_s
        try:
            async with self._http.stream(
                ask.method,
                ask.path,
                params=ask.params,
                headers=ask.headers,
                content=ask.content,
                timeout=httpx.Timeout(self._timeout_s, connect=_CONNECT_S, read=silence_s),
            ) as response:
                if response.status_code not in ask.expected:
                    waited_s = ask.content.waited_s() if isinstance(ask.content, Upload) else 0.0
                    raise RefusedError(await refusal_of(response, ask.path, waited_s))
                yield response
        except httpx.RequestError as error:
            raise RefusedError(failure_of(error, self._http.base_url)) from error

    async def once(self, ask: Ask, take: Callable[[httpx.Response], Awaitable[T]]) -> T:
        """Send a request once, and return what is taken from its answer.

        Raises:
            RefusedError: As for `opened`.
            ConvlastError: If the answer cannot be taken.
        """
        async with self.opened(ask) as response:
            return await take(response)

    async def repeated(
        self, ask: Ask, take: Callable[[httpx.Response], Awaitable[T]], patience: Patience
    ) -> T:
        """Send a request that is safe to repeat until there is an answer, and return what is taken.

        Raises:
            ConvlastError: If the service refuses, or does not answer, or its answer cannot be
                taken.
        """
        while True:
            try:
                found = await self.once(ask, take)
            except RefusedError as refused:
                await patience.endure(refused.refusal)
            else:
                patience.reset()
                return found


def base_of(url: str) -> httpx.URL:
    """Return the URL below which the verbs are.

    Raises:
        OptionError: If it is not one of HTTP.
    """
    try:
        base = httpx.URL(url.rstrip("/") + "/")
    except httpx.InvalidURL:
        base = httpx.URL()
    if base.scheme not in {"http", "https"} or not base.host:
        raise OptionError(
            "server",
            f"{url[:80]!r} is not the address of a service.",
            remedy="It is like http://127.0.0.1:8000.",
        )
    return base
