"""When a request that failed is sent again, and how long the client waits before that."""

from __future__ import annotations

import re
import time

import anyio

from convlast.client.refusals import Refusal

_LONGEST_TOLD_S = 60.0
_LONGEST_OWN_S = 5.0


class Patience:
    """A bound on the repetitions of a request, by their number or by time."""

    def __init__(self, *, attempts: int | None = None, limit_s: float | None = None) -> None:
        """Begin with no failure.

        Args:
            attempts: How often the request may be sent in all; None for any number.
            limit_s: For how long after the first failure it may be sent again; None for ever.
        """
        self._attempts, self._limit_s = attempts, limit_s
        self._failures = 0
        self._since_s = 0.0

    def reset(self) -> None:
        """Forget the failures, since the service has answered."""
        self._failures = 0

    async def endure(self, refusal: Refusal) -> None:
        """Wait until the request may be sent again.

        Raises:
            ConvlastError: If a repetition cannot help, or there were enough.
        """
        if not self._failures:
            self._since_s = now()
        self._failures += 1
        if not refusal.is_passing or self._is_over():
            if self._failures > 1:
                refusal.error.add(f"It was tried {self._failures} times.")
            raise refusal.error
        await pause(wait_s(refusal.retry_after, self._failures))

    def _is_over(self) -> bool:
        if self._attempts is not None and self._failures >= self._attempts:
            return True
        return self._limit_s is not None and now() - self._since_s >= self._limit_s


def wait_s(retry_after: str | None, failures: int) -> float:
    """Return how long to wait: as long as the service says, else longer after each failure.

    >>> wait_s("3", 1), wait_s(None, 3), wait_s("²", 1), wait_s(None, 2000)
    (3.0, 2.0, 0.5, 5.0)
    """
    said = re.fullmatch("[0-9]{1,9}", retry_after or "")
    if said:
        return min(float(said[0]), _LONGEST_TOLD_S)
    return min(0.25 * 2.0 ** min(failures, 10), _LONGEST_OWN_S)


async def pause(seconds: float) -> None:
    """Wait."""
    await anyio.sleep(seconds)


def now() -> float:
    """Return the time of a clock that only goes forward, in seconds."""
    return time.monotonic()
