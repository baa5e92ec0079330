"""Blocking readings for `/readyz` and the metrics, which may hang with a broken disk or GPU."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

import structlog

from service.threads import in_daemon

T = TypeVar("T")
_log = structlog.get_logger()


class Reading(Generic[T]):
    """Calls a blocking function in a thread, once at a time, and waits only so long for it."""

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
            try:
                self._running = in_daemon(self._name, self._result)
            except RuntimeError:
                return None
            self._running.add_done_callback(self._finish)
        running = self._running
        await asyncio.wait({running}, timeout=self._patience_s)
        return running.result() if running.done() else None

    def _result(self) -> T | None:
        try:
            return self._read()
        except Exception as error:
            _log.warning("a metric cannot be read", reading=self._name, exc_info=error)
            return None

    def _finish(self, _: asyncio.Future[T | None]) -> None:
        self._running = None
