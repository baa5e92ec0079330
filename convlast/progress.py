"""How long work says how far it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called as `progress(stage, done, total)`. A stage begins with less than its total, and ends with
`done == total`, unless the work raises.

A conversion has the stages read, choose, write, prove, smoke and survival, an inspection digest,
and a verification compare and digest. A client adds upload, queue (in places) and download. A
service that fetches from a store, or delivers to one, adds download before, and deliver after. In a
model folder a conversion's come for each file, and `files` says how many bytes of all files are
done."""

TimedStage: TypeAlias = Literal["read", "choose", "write", "prove", "smoke", "survival"]
"""What the seconds of a report are told of."""

IN_BYTES = frozenset({"write", "digest", "compare", "files", "upload", "download", "deliver"})
"""The stages that count bytes; the others count steps."""


class Portions:
    """Progress that is told in portions."""

    def __init__(self, progress: Progress, stage: str, total: int) -> None:
        """Begin the stage, unless there is nothing to do in it."""
        self._progress, self._stage, self._total = progress, stage, total
        self._done = 0
        if total:
            progress(stage, 0, total)

    def add(self, count: int) -> None:
        """Say that so much more is done."""
        self._done += count
        self._progress(self._stage, self._done, self._total)


class Stages:
    """Progress that knows which stages have begun, and ends them."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._begun: dict[str, int] = {}
        """The totals of the stages that have begun and not ended."""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Say how far a stage is."""
        if done < total:
            self._begun[stage] = total
        else:
            self._begun.pop(stage, None)
        self._progress(stage, done, total)

    def begin(self, stage: str) -> None:
        """Begin a stage of one step, unless it has begun."""
        if stage not in self._begun:
            self(stage, 0, 1)

    def end(self, *stages: str) -> None:
        """End these stages if they have begun; without a name all of them."""
        for stage in stages or tuple(self._begun):
            if stage in self._begun:
                total = self._begun[stage]
                self(stage, total, total)


def silent(_stage: str, _done: int, _total: int) -> None:
    """Say nothing."""
