"""Closing a connection before its request body is read, without losing the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

LINGER_S = 2.0


class LingeringClose:
    """Middleware that closes the connection after an answer if the request body was not read.

    Closing a connection with unread bytes resets it, and the client may lose the answer; keeping it
    open makes uvicorn read the whole body for nothing. So this sends the answer, discards incoming
    bytes for up to `LINGER_S` seconds, and then closes the connection.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and note whether its body is read."""
        if scope["type"] != "http" or not _has_body(scope["headers"]):
            await self.app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send)
        await self.app(scope, exchange.receive, exchange.send)


class _Exchange:
    """One request whose body is watched."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self._waits_for_100 = dict(scope["headers"]).get(b"expect", b"").lower() == b"100-continue"
        self._body_read = False
        self._closes = False

    async def receive(self) -> Message:
        message = await self._receive()
        self._waits_for_100 = False
        if not message.get("more_body", False):
            self._body_read = True
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and not self._body_read:
            self._closes = True
            headers = [*message["headers"], (b"connection", b"close")]
            message = {**message, "headers": headers}
        is_last = message["type"] == "http.response.body" and not message.get("more_body", False)
        if not (is_last and self._closes):
            await self._send(message)
            return
        await self._send({**message, "more_body": True})
        # A client that waits for 100 Continue has sent nothing yet.
        if not self._waits_for_100:
            await self._discard()
        await self._send({"type": "http.response.body", "body": b""})

    async def _discard(self) -> None:
        try:
            async with asyncio.timeout(LINGER_S):
                while not self._body_read:
                    await self.receive()
        except TimeoutError:
            pass


def _has_body(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    fields = dict(headers)
    return b"transfer-encoding" in fields or fields.get(b"content-length", b"0") != b"0"
