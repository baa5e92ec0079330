"""Work that is done to its end, whoever stops waiting for it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def completed(work: Coroutine[Any, Any, T]) -> T:
    """Wait for work that must not stop half done, such as tidying up.

    A waiter that is cancelled meanwhile, once or often, learns of it when the work is done.
    `asyncio.shield` alone would let it go on at once, beside work that still runs.

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
