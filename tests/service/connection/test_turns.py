"""Requests start one by one, and probes at once."""

from __future__ import annotations

import asyncio

from starlette.types import Receive, Scope, Send

from service.connection.turns import HAS_LEFT, Turns


class Crowd:
    """Many simultaneous requests, and the pass of the event loop in which each one started."""

    def __init__(self) -> None:
        self.began: dict[str, int] = {}
        self._passes = 0
        self._turns = Turns(self._app)

    async def _app(self, scope: Scope, _receive: Receive, _send: Send) -> None:
        self.began[scope["path"]] = self._passes

    async def _count(self) -> None:
        while True:
            self._passes += 1
            await asyncio.sleep(0)

    async def run(self, *paths: str, gone: str = "") -> None:
        """Send them all, and wait until all are done; one client may have disconnected."""
        counting = asyncio.create_task(self._count())
        async with asyncio.TaskGroup() as group:
            for path in paths:
                state = {HAS_LEFT: (path == gone).__bool__}
                scope = {"type": "http", "path": path, "state": state}
                group.create_task(self._turns(scope, _receive, _send))
        counting.cancel()


async def _receive() -> dict[str, object]:
    raise AssertionError


async def _send(_message: object) -> None:
    raise AssertionError


def test_one_begins_in_each_pass() -> None:
    """Any number of requests start in order, one in each pass of the loop."""
    crowd = Crowd()
    paths = [f"/{number}" for number in range(50)]
    asyncio.run(crowd.run(*paths))
    passes = [crowd.began[path] for path in paths]
    assert passes == sorted(set(passes))


def test_a_probe_waits_for_nobody() -> None:
    """A probe that comes last starts first."""
    crowd = Crowd()
    asyncio.run(crowd.run(*(f"/{number}" for number in range(50)), "/livez"))
    assert crowd.began["/livez"] <= crowd.began["/0"]


def test_who_has_left_does_not_begin() -> None:
    """A request whose client has disconnected delays none of those behind it."""
    crowd = Crowd()
    asyncio.run(crowd.run("/0", "/1", "/2", gone="/1"))
    assert set(crowd.began) == {"/0", "/2"}


def test_the_crowd_goes_on_after_a_break() -> None:
    """After all requests have started, a new one starts at once."""
    crowd = Crowd()

    async def twice() -> None:
        await crowd.run("/0")
        await crowd.run("/1")

    asyncio.run(twice())
    assert set(crowd.began) == {"/0", "/1"}
