"""Blocking readings for the metrics, which may hang with a broken disk or GPU."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

import structlog

T = TypeVar("T")
_log = structlog.get_logger()


class Reading(Generic[T]):
    """Calls a blocking function in a thread, once at a time, and waits only so long for it.

    The thread is a daemon: one that hangs must not keep the process from ending.
    """

    def __init__(self, name: str, read: Callable[[], T], *, patience_s: float = 2.0) -> None:
        """Set up without calling the function.

        Args:
            name: What is read, for the log.
            read: The function.
            patience_s: How many seconds to wait for it.
        """
        self._name, self._read, self._patience_s = name, read, patience_s
        self._running: asyncio.Future[T | None] | None = None

    async def take(self) -> T | None:
        """Return what the function returns, or none if it raises or is not done in time.

        If an earlier call has not returned, this waits for that one.
        """
        if self._running is None:
            loop = asyncio.get_running_loop()
            self._running = loop.create_future()
            thread = threading.Thread(
                target=self._run, args=(loop, self._running), name=self._name, daemon=True
            )
            try:
                thread.start()
            except RuntimeError:  # there is no thread to be had
                self._running = None
                return None
        running = self._running
        await asyncio.wait({running}, timeout=self._patience_s)
        return running.result() if running.done() else None

    def _run(self, loop: asyncio.AbstractEventLoop, running: asyncio.Future[T | None]) -> None:
        result: T | None = None
        try:
            result = self._read()
        except Exception as error:
            _log.warning("a metric cannot be read", reading=self._name, exc_info=error)
        with suppress(RuntimeError):  # the loop has been closed meanwhile
            loop.call_soon_threadsafe(self._finish, running, result)

    def _finish(self, running: asyncio.Future[T | None], result: T | None) -> None:
        self._running = None
        running.set_result(result)
