"""How long a store that is away is asked again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import TypeVar

from convlast.errors import StoreError, StoreUnavailableError
from convlast.stores.opening import StoreOptions

T = TypeVar("T")

_PASSING = frozenset({"away", "failing"})
_PAUSES = 8
"""At least so many tries fit into the time of patience."""


class Patience:
    """What is left of the patience with a store."""

    def __init__(self, options: StoreOptions) -> None:
        self._patience_s = options.patience_s
        self.renew()

    def renew(self) -> None:
        """Begin anew, since there was progress."""
        self._until = monotonic() + self._patience_s
        self._pause_s = self._patience_s / 1000

    async def bear(self, error: StoreError) -> None:
        """Wait a while before the next try, or give up.

        Raises:
            StoreError: If another try would not help, or patience has ended.
        """
        passes = isinstance(error, StoreUnavailableError) and error.reason in _PASSING
        if not passes or monotonic() > self._until:
            raise error
        # Many clients that wait for the same store do not come back all at once.
        await asyncio.sleep(self._pause_s * random.uniform(0.5, 1))  # noqa: S311  # no secret
        self._pause_s = min(2 * self._pause_s, self._patience_s / _PAUSES)


async def patiently(ask: Callable[[], Awaitable[T]], options: StoreOptions) -> T:
    """Ask until there is an answer.

    Args:
        ask: Makes one request.
        options: For how long.

    Raises:
        StoreError: If the answer is no, or does not come.
    """
    patience = Patience(options)
    while True:
        try:
            return await ask()
        except StoreError as error:
            await patience.bear(error)
