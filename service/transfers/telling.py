"""Tells how far a transfer is, under its own name and not too often."""

from __future__ import annotations

import time
from collections.abc import Callable

from convlast.progress import Progress

_TELL_S = 0.25


def telling(
    progress: Progress, stage: str, clock: Callable[[], float] = time.monotonic
) -> Progress:
    """Return a callback that passes on beginnings and ends, and the rest rarely.

    Args:
        progress: Hears it.
        stage: The name of the stage, whatever the store calls it.
        clock: Returns the time in seconds.
    """
    told_total, told_at_s = -1, 0.0

    def tell(_stage: str, done: int, total: int) -> None:
        nonlocal told_total, told_at_s
        now_s = clock()
        if total != told_total or done == total or now_s - told_at_s > _TELL_S:
            told_total, told_at_s = total, now_s
            progress(stage, done, total)

    return tell
