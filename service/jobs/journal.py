"""What is stored of the jobs, written in an order that no crash can confuse.

    <id>/request.json     the accepted job; written once, before its client is told
    <id>/attempt-<n>      a claim; written once, before a worker begins
    <id>/<n>/...          the files that attempt n has made
    <id>/outcome.json     the end; written once, after the files that it names

A job without an outcome is run again, and one with an outcome never is. All of it is flushed, so
that it also stays through a power failure. See docs/decisions/0020.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog
from pydantic import ValidationError

from service.jobs.records import Accepted, Outcome
from service.storage.objects import UNFINISHED, Objects
from service.storage.slices import Slice

_REQUEST, _OUTCOME, _CLAIM = "request.json", "outcome.json", "attempt-"
_log = structlog.get_logger()


@dataclass(frozen=True)
class Recorded:
    """A job as it is stored.

    Attributes:
        accepted: The job.
        outcome: How it has ended, or none if it is still to be run.
        attempts: How often it was begun.
    """

    accepted: Accepted
    outcome: Outcome | None
    attempts: int


class Journal:
    """All jobs that are stored. The methods use the store: call them in a thread.

    Each of them raises OSError if the store cannot do what it is asked for.
    """

    def __init__(self, objects: Objects, writer: str = "") -> None:
        """Set up.

        Args:
            objects: The store.
            writer: Names this service, if several share the store.
        """
        self._objects, self._writer = objects, writer

    def accept(self, accepted: Accepted) -> bool:
        """Write an accepted job, and return whether nobody has written it before."""
        return self._objects.create(f"{accepted.name}/{_REQUEST}", accepted.model_dump_json())

    def claim(self, name: str, attempt: int) -> bool:
        """Note that an attempt begins, and return whether nobody else has begun it."""
        key = f"{name}/{_CLAIM}{attempt}"
        is_first = self._objects.create(key, self._writer)
        return is_first or self._objects.read(key) == self._writer.encode()

    def keep(
        self, accepted: Accepted, outcome: Outcome, made: Path | None, *, flushed: bool
    ) -> Outcome:
        """Move the files of a job here, and write its outcome. It may be tried again.

        Args:
            accepted: The job; it is written too, unless it is there.
            outcome: How it has ended.
            made: The folder with the files that the outcome names.
            flushed: Whether the files must stay through a power failure.

        Returns:
            The outcome that was written first, which stays.
        """
        key = f"{accepted.name}/{outcome.folder}"
        if outcome.files and made is not None:
            # Flushed before the outcome, which might be on disk first.
            self._objects.take(key, made, outcome.files, flushed=flushed)
        is_first = self._objects.create(f"{accepted.name}/{_OUTCOME}", outcome.model_dump_json())
        # Afterwards: a job that was not written down before must not look as if it had to be run.
        self.accept(accepted)
        if is_first:
            if not outcome.files:
                self._objects.remove(key)  # an earlier try may have moved some
            return outcome
        first = self.outcome(accepted.name) or outcome
        if first.folder != outcome.folder:
            self._objects.remove(key)
        return first

    def outcome(self, name: str) -> Outcome | None:
        """Return how a job has ended, if it has."""
        ended = self._objects.read(f"{name}/{_OUTCOME}")
        return Outcome.model_validate_json(ended) if ended is not None else None

    def forget(self, name: str, outcome: Outcome) -> None:
        """Remove what a try to keep a passing job has left; others may have one of this name."""
        self._objects.remove(f"{name}/{outcome.folder}" if self._writer else name)

    def made_in(self, attempt: int) -> str:
        """Return where the files of an attempt go, if not below its number.

        Two services may think that an attempt is theirs.
        """
        return f"{attempt}-{self._writer}" if self._writer else ""

    def opener(self, name: str, outcome: Outcome) -> Callable[[str], Slice]:
        """Return a function that opens the files of a job that has ended, by their names."""
        return lambda file: self._objects.open(f"{name}/{outcome.folder}/{file}")

    def remove(self, name: str) -> None:
        """Remove all that is here of a job."""
        self._objects.remove(name)

    def read_all(self) -> Iterator[Recorded]:
        """Yield the jobs that an earlier run has left, and remove all else."""
        for name in self._objects.names():
            sizes = {} if name.startswith(UNFINISHED) else self._objects.sizes(name)
            recorded = self.read(name, sizes)
            if recorded is None:
                if _REQUEST in sizes:
                    _log.warning("a job cannot be read and is removed", job_id=name)
                self._objects.remove(name)
                continue
            self._remove_rest(name, recorded.outcome, sizes)
            yield recorded

    def read(self, name: str, sizes: dict[str, int]) -> Recorded | None:
        """Read a job, or return none if it is of another format or not complete.

        Args:
            name: Its name.
            sizes: The sizes of its objects.
        """
        try:
            accepted = Accepted.model_validate_json(self._read(name, _REQUEST, sizes) or b"")
            ended = self._read(name, _OUTCOME, sizes)
            outcome = Outcome.model_validate_json(ended) if ended is not None else None
        except ValidationError:
            return None
        if accepted.name != name or (outcome and not _has_files(outcome, sizes)):
            return None
        claims = [int(key.removeprefix(_CLAIM)) for key in sizes if key.startswith(_CLAIM)]
        return Recorded(accepted, outcome, max(claims, default=0))

    def _read(self, name: str, key: str, sizes: dict[str, int]) -> bytes | None:
        return self._objects.read(f"{name}/{key}") if key in sizes else None

    def _remove_rest(self, name: str, outcome: Outcome | None, sizes: dict[str, int]) -> None:
        """Remove what attempts without an outcome have left."""
        kept = outcome.folder if outcome and outcome.files else None
        for first in {key.partition("/")[0] for key in sizes}:
            is_record = first in {_REQUEST, _OUTCOME} or first.startswith(_CLAIM)
            if not is_record and first != kept:
                self._objects.remove(f"{name}/{first}")


def _has_files(outcome: Outcome, sizes: dict[str, int]) -> bool:
    """Return whether all files of a job are there."""
    return all(
        sizes.get(f"{outcome.folder}/{name}") == file.bytes for name, file in outcome.files.items()
    )
