"""Counts the workers of a lane: how many were started, and why each has ended."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import get_args

from convlast.errors import OutOfMemoryError
from service.errors import TimedOutError, WorkerCrashedError
from service.workers import Finished, WorkerEnd
from service.workers.messages import Refused


class WorkerEnds:
    """The counts of one lane.

    Attributes:
        starts: How many workers were started.
        ends: How many have ended, by cause.
    """

    def __init__(self) -> None:
        self.starts = 0
        self.ends: Counter[WorkerEnd] = Counter()

    def add(self, end: WorkerEnd) -> None:
        """Count a worker that ends."""
        self.ends[end] += 1

    def by_cause(self) -> dict[WorkerEnd, int]:
        """Return the counts of all causes, those of none too."""
        return {cause: self.ends[cause] for cause in get_args(WorkerEnd)}


def end_with(answer: Finished | Refused) -> WorkerEnd:
    """Return the end of a worker that has answered.

    >>> end_with(Refused(code="device-lost", detail="CUDA error."))
    'device-lost'
    """
    is_lost = isinstance(answer, Refused) and answer.code == "device-lost"
    return "device-lost" if is_lost else "answered"


def end_without_answer(error: BaseException) -> WorkerEnd:
    """Return the end of a worker whose job has ended with an error.

    >>> end_without_answer(TimedOutError("The job was stopped.")), end_without_answer(OSError())
    ('timed-out', 'failed')
    """
    if isinstance(error, TimedOutError):
        return "timed-out"
    if isinstance(error, OutOfMemoryError):
        return "out-of-memory"
    if isinstance(error, WorkerCrashedError):
        return "crashed"
    return "cancelled" if isinstance(error, asyncio.CancelledError) else "failed"
