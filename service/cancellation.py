"""Work that is completed even if its waiter is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def completed(work: Coroutine[Any, Any, T]) -> T:
    """Wait for work that must not stop halfway, such as cleaning up.

    If the waiter is cancelled meanwhile, the error is raised after the work is done.
    `asyncio.shield` alone would raise it at once, while the work still runs.

    Raises:
        CancelledError: If the waiter was cancelled.
    """
    task = asyncio.ensure_future(work)
    interruption: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            interruption = error
    if interruption is not None and not task.cancelled() and task.exception() is None:
        raise interruption
    return task.result()


class Aside:
    """Work that nobody waits for, such as removing files, until all of it has to be done."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[object]] = set()

    def do(self, work: Coroutine[Any, Any, object]) -> None:
        """Begin to do work, and return at once."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def done(self) -> None:
        """Wait until all is done, however it ends, and what begins meanwhile too."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
