"""Times the stages of a job whose worker gives no times: the job failed or was cancelled."""

from __future__ import annotations

import time
from collections.abc import Callable

from service.workers import STAGES

_QUEUE, _WHOLE = "queue", "convert"


class StageClock:
    """Adds up the seconds of each stage, from what the worker says of its progress.

    The names come from a worker, so only known ones are timed.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin to wait.

        Args:
            clock: Returns the time in seconds.
        """
        self._clock = clock
        self._stage, self._since_s = _QUEUE, clock()
        self._began_s: float | None = None
        self._ended_s: float | None = None
        self._seconds: dict[str, float] = {}

    def begins(self) -> None:
        """Note that a worker has the job."""
        self._began_s = self._enter("")

    def goes_on(self, stage: str) -> None:
        """Note which stage the worker is in."""
        if stage in STAGES and stage != self._stage:
            self._enter(stage)

    def stops(self) -> None:
        """Note that the worker has ended; what follows is not its time."""
        self._ended_s = self._enter("")

    def seconds(self) -> dict[str, float]:
        """Return the wall time of each stage until now; `convert` contains those of the worker."""
        now_s = self._ended_s or self._enter(self._stage)
        told = {name: each_s for name, each_s in self._seconds.items() if name}
        if self._began_s is None:
            return told
        return {_QUEUE: told.pop(_QUEUE), _WHOLE: now_s - self._began_s, **told}

    def _enter(self, stage: str) -> float:
        """Add the time since the last change to the stage until now, and return the time."""
        now_s = self._clock()
        self._seconds[self._stage] = self._seconds.get(self._stage, 0.0) + now_s - self._since_s
        self._stage, self._since_s = stage, now_s
        return now_s
