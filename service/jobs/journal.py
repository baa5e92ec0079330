"""What is on disk of the jobs, written in an order that no crash can confuse.

    <id>/request.json     the accepted job; written once, before its client is told
    <id>/attempt-<n>      a claim; written once, before a worker begins
    <id>/<n>/...          the files that attempt n has made
    <id>/outcome.json     the end; written once, after the files that it names

A job without an outcome is run again, and one with an outcome never is. All of it is flushed, so
that it also stays through a power failure. See docs/decisions/0020.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog
from pydantic import ValidationError

from convlast.removal import remove_tree
from service.jobs.records import Accepted, Outcome
from service.storage.records import UNFINISHED, Records, flush

_REQUEST, _OUTCOME, _CLAIM = "request.json", "outcome.json", "attempt-"
_log = structlog.get_logger()


@dataclass(frozen=True)
class Recorded:
    """A job as an earlier run has left it.

    Attributes:
        accepted: The job.
        outcome: How it has ended, or none if it is still to be run.
        attempts: How often it was begun.
    """

    accepted: Accepted
    outcome: Outcome | None
    attempts: int


class Journal:
    """The folder of all jobs. The methods use the disk: call them in a thread."""

    def __init__(self, folder: Path) -> None:
        """Make the folder if it does not exist."""
        self._records = Records(folder)
        self.folder = folder

    def accept(self, accepted: Accepted) -> None:
        """Write an accepted job.

        Raises:
            OSError: If it cannot be written.
        """
        self._records.create(f"{accepted.id}/{_REQUEST}", accepted.model_dump_json())

    def claim(self, job_id: str, attempt: int) -> None:
        """Note that an attempt begins.

        Raises:
            OSError: If it cannot be written.
        """
        self._records.create(f"{job_id}/{_CLAIM}{attempt}", "")

    def keep(
        self, accepted: Accepted, outcome: Outcome, made: Path | None, *, flushed: bool
    ) -> None:
        """Move the files of a job here, and write its outcome.

        Args:
            accepted: The job; it is written too, unless it is there.
            outcome: How it has ended.
            made: The folder with the files that the outcome names.
            flushed: Whether the files must stay through a power failure.

        Raises:
            OSError: If it cannot be written. It may be tried again.
        """
        if outcome.files and made is not None:
            kept = self.files(accepted.id, outcome)
            kept.mkdir(mode=0o700, parents=True, exist_ok=True)
            for name in outcome.files:
                _move(made / name, kept / name)
                if flushed:
                    flush(kept / name)
            if flushed:
                flush(kept)
                flush(kept.parent)  # not with the outcome, which might be on disk first
        self.accept(accepted)
        is_first = self._records.create(f"{accepted.id}/{_OUTCOME}", outcome.model_dump_json())
        if is_first and not outcome.files:
            remove_tree(self.files(accepted.id, outcome))  # an earlier try may have moved some

    def files(self, job_id: str, outcome: Outcome) -> Path:
        """Return the folder of a job's files."""
        return self.folder / job_id / str(outcome.attempt)

    def remove(self, job_id: str) -> None:
        """Remove all that is here of a job."""
        self._records.remove(job_id)

    def read_all(self) -> Iterator[Recorded]:
        """Yield the jobs that an earlier run has left, and remove all else."""
        for path in list(self.folder.iterdir()):
            recorded = None if path.name.startswith(UNFINISHED) else self._read(path)
            if recorded is None:
                if (path / _REQUEST).exists():
                    _log.warning("a job cannot be read and is removed", job_id=path.name)
                remove_tree(path)
                continue
            self._remove_rest(path, recorded.outcome)
            yield recorded

    def _read(self, path: Path) -> Recorded | None:
        """Read a job, or return none if it is of another format or not complete."""
        request = self._records.read(f"{path.name}/{_REQUEST}")
        ended = self._records.read(f"{path.name}/{_OUTCOME}")
        try:
            accepted = Accepted.model_validate_json(request or b"")
            outcome = Outcome.model_validate_json(ended) if ended is not None else None
        except ValidationError:
            return None
        if accepted.id != path.name or (outcome and not self._has_files(path.name, outcome)):
            return None
        attempts = [int(each.name.removeprefix(_CLAIM)) for each in path.glob(f"{_CLAIM}[0-9]*")]
        return Recorded(accepted, outcome, max(attempts, default=0))

    def _has_files(self, job_id: str, outcome: Outcome) -> bool:
        folder = self.files(job_id, outcome)
        try:
            sizes = {name: (folder / name).stat().st_size for name in outcome.files}
        except OSError:
            return False
        return sizes == {name: file.bytes for name, file in outcome.files.items()}

    def _remove_rest(self, path: Path, outcome: Outcome | None) -> None:
        """Remove what attempts without an outcome have left."""
        kept = str(outcome.attempt) if outcome and outcome.files else None
        for each in path.iterdir():
            is_record = each.name in {_REQUEST, _OUTCOME} or each.name.startswith(_CLAIM)
            if not is_record and each.name != kept:
                remove_tree(each)


def _move(made: Path, kept: Path) -> None:
    """Move a file, unless an earlier try has moved it."""
    try:
        made.rename(kept)
    except FileNotFoundError:
        if not kept.exists():
            raise
