"""Waits in a thread for what a store is asked, until nobody has the time any more."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from threading import Lock
from typing import Any, TypeVar

from convlast.errors import StoreUnavailableError
from service.storage.discretion import OWN_STORE, as_own_store

T = TypeVar("T")


class Asking:
    """What threads ask the service's own store, each in an event loop of its own."""

    def __init__(self) -> None:
        self._changes = Lock()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_over = False

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Do work of the stores' library in this thread.

        Raises:
            StoreError: If the store does not do what it is asked for.
            StoreUnavailableError: If it was broken off.
        """
        try:
            with as_own_store():
                return asyncio.run(self._do(work))
        except asyncio.CancelledError:
            raise StoreUnavailableError(
                f"The service ends, and waits no longer for {OWN_STORE}.",
                address=OWN_STORE,
                reason="away",
            ) from None

    async def _do(self, work: Coroutine[Any, Any, T]) -> T:
        task = asyncio.ensure_future(work)
        with self._changes:
            self._tasks.add(task)
            if self._is_over:
                task.cancel()
        try:
            return await task
        finally:
            with self._changes:
                self._tasks.discard(task)

    def break_off(self) -> None:
        """Let all that is asked, and will be, fail at once. Any thread may call this."""
        with self._changes:
            self._is_over = True
            for task in self._tasks:
                task.get_loop().call_soon_threadsafe(task.cancel)
