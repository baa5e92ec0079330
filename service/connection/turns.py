"""Starts requests one by one, so that a probe never waits behind a crowd of them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from service.connection.limit import PROBES
from service.connection.root_path import bare

HAS_LEFT = "has_left"
"""Key in a request's state: a function that returns whether the client has disconnected."""


class Turns:
    """Middleware that starts one request in each pass of the event loop, and probes at once.

    A refusal takes about two milliseconds of the loop; hundreds of them in one pass would keep
    every client waiting. Requests start in the order in which they came; if the client disconnects
    while its request waits, the request does not start.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._waiting: deque[tuple[asyncio.Future[None], Callable[[], bool]]] = deque()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wait for a turn, and pass the request on."""
        if (
            scope["type"] == "http"
            and bare(scope["path"], scope.get("root_path", "")) not in PROBES
        ):
            has_left = scope.get("state", {}).get(HAS_LEFT, bool)
            await self._turn(has_left)
            if has_left():
                return
        await self.app(scope, receive, send)

    async def _turn(self, has_left: Callable[[], bool]) -> None:
        loop = asyncio.get_running_loop()
        turn = loop.create_future()
        self._waiting.append((turn, has_left))
        if len(self._waiting) == 1:
            loop.call_soon(self._begin)
        await turn

    def _begin(self) -> None:
        """Start the next request; the others wait for a later pass of the loop."""
        while self._waiting:
            turn, has_left = self._waiting.popleft()
            if not turn.done():  # its task may have been cancelled
                turn.set_result(None)
                if not has_left():
                    break
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._begin)
