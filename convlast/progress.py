"""How long work says how far it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called as `progress(stage, done, total)`; the stages are read, write, prove and smoke.
For a model folder they come for each file, and `files` says how many bytes of all are done."""

TimedStage: TypeAlias = Literal["read", "choose", "write", "prove", "smoke", "survival"]
"""What the seconds of a report are told of."""


class Portions:
    """Progress that is told in portions."""

    def __init__(self, progress: Progress, stage: str, total: int) -> None:
        self._progress, self._stage, self._total = progress, stage, total
        self._done = 0

    def add(self, count: int) -> None:
        """Say that so much more is done."""
        self._done += count
        self._progress(self._stage, self._done, self._total)


def silent(_stage: str, _done: int, _total: int) -> None:
    """Say nothing."""
