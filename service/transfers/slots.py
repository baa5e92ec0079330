"""A bounded number of transfers at once: each has parts of a file in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary


class Slots:
    """Places for transfers. Others wait, and one client has three quarters at most."""

    def __init__(self, count: int) -> None:
        """Set up.

        Args:
            count: How many there are.
        """
        self._of_all = asyncio.Semaphore(count)
        self._of_one = max(count * 3 // 4, 1)
        self._of_each: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def taken(self, share: str) -> AsyncIterator[None]:
        """Wait for a place, and hold it.

        Args:
            share: The client that it counts for.
        """
        own = self._of_each.setdefault(share, asyncio.Semaphore(self._of_one))
        async with own, self._of_all:
            yield
