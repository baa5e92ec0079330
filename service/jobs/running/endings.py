"""The end of a job: its outcome, written down if the job is, before anybody is told of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import structlog

from convlast.byte_size import exact
from convlast.errors import (
    ConvlastError,
    StorageFullError,
    StoreError,
    StoreUnavailableError,
)
from convlast.report import Verdict
from service.errors import GoneError, InternalError, full_disk_as_problem
from service.jobs.entry import DOWNLOAD, JobEntry
from service.jobs.journal import Journal
from service.jobs.records import KeptFile, Outcome
from service.jobs.retention import CANCELLED
from service.jobs.running.job_line import tell_end
from service.problems import Problem
from service.storage.slices import FileSlice
from service.threads import CARRYING, RECORDING
from service.workers import Finished

PATIENCE_S = 600.0
"""How long a result waits for room on a full disk, before the job has failed."""

_PAUSE_S = 1.0
_log = structlog.get_logger()


class SuspendedError(Exception):
    """The service stops before the end of a job is written: the job goes on after a restart."""


@dataclass(frozen=True)
class Ended:
    """How the attempts at a job have ended.

    Attributes:
        state: The state that the job gets.
        problem: Why it failed, if it did.
        finished: The worker's answer, if there is one.
        files: The files that it has made, by name.
        made: The folder of these.
    """

    state: Literal["succeeded", "failed", "cancelled"]
    problem: Problem | None = None
    finished: Finished | None = None
    files: dict[str, KeptFile] = field(default_factory=dict)
    made: Path | None = None

    @classmethod
    def cancelled(cls) -> Ended:
        """Return the end of a job that was cancelled."""
        return cls("cancelled", Problem.of(GoneError(CANCELLED)))

    def outcome(self, entry: JobEntry, made_in: str) -> Outcome:
        """Return what is written of it, with the folder of its files."""
        finished = self.finished
        stages_s = finished.seconds if finished else entry.clock.seconds()
        return Outcome(
            state=self.state,
            started_at=entry.standing.started_at,
            finished_at=time.time(),
            attempt=entry.attempts,
            made_in=made_in,
            device=entry.standing.device,
            sha256=entry.fetched_sha256,
            seq=entry.next_seq(),
            verdict=self._verdict(),
            files=self.files,
            seconds={"upload": entry.upload_s, **_between(entry.transfer_s, stages_s)},
            problem=self.problem.body() if self.problem else None,
        )

    def _verdict(self) -> Verdict | None:
        if self.problem is not None:
            return self.problem.verdict
        return self.finished.verdict if self.finished else None


def _between(transfer_s: Mapping[str, float], stages_s: Mapping[str, float]) -> dict[str, float]:
    """Return the wall times of a worker's stages between those of what came before and after."""
    before_s = {stage: each_s for stage, each_s in transfer_s.items() if stage == DOWNLOAD}
    return {**before_s, **stages_s, **transfer_s}


async def conclude(
    entry: JobEntry, ended: Ended, journal: Journal, max_bytes: int
) -> tuple[Outcome, Problem | None]:
    """Store what came of a job, if it is to be stored, and return its outcome.

    A durable job stays as it was until this has succeeded: its state is what is on disk.

    Args:
        entry: The job. Afterwards `is_kept` says whether it is stored, and `opens` opens its files.
        ended: How it has ended.
        journal: Writes it down.
        max_bytes: The size of the store.

    Returns:
        The outcome, and the problem with its report.

    Raises:
        SuspendedError: If it cannot be written before the service ends.
    """
    entry.is_kept &= entry.is_durable or ended.state == "succeeded"
    outcome = ended.outcome(entry, journal.made_in(entry.attempts))
    if entry.is_kept:
        try:
            outcome = await _keep(entry, ended, outcome, journal, max_bytes)
        except (StorageFullError, StoreError, OSError) as error:
            ended = Ended("failed", _problem_of(error))
            outcome = ended.outcome(entry, journal.made_in(entry.attempts))
            entry.is_kept = entry.is_durable
            if not entry.is_kept:
                with suppress(StoreError, OSError):
                    await RECORDING.run(journal.forget, entry.accepted.name, outcome)
            else:
                outcome = await _keep(entry, ended, outcome, journal, max_bytes)
    if entry.is_kept:
        entry.opens = journal.opener(entry.accepted.name, outcome)
    elif ended.made is not None:
        entry.opens = partial(FileSlice.whole, ended.made)
    tell_end(entry, outcome)
    return outcome, ended.problem


async def _keep(
    entry: JobEntry, ended: Ended, outcome: Outcome, journal: Journal, max_bytes: int
) -> Outcome:
    """Move the files into the store, and write the outcome down; return the one that stays.

    Raises:
        StorageFullError: If the disk stays full, or the result is larger than the store.
        OSError: If the result cannot be stored.
        StoreError: If the store that services share does not take it.
        SuspendedError: If the service ends before there is room.
    """
    if outcome.file_bytes > max_bytes:
        raise StorageFullError(
            f"The result has {exact(outcome.file_bytes)}; the store holds {exact(max_bytes)}.",
            remedy="Raise CONVLAST_STORE_BYTES, or ask for application/zip: it stores nothing.",
        )
    give_up_at = time.monotonic() + PATIENCE_S
    while True:
        try:
            with full_disk_as_problem():
                return await CARRYING.run(
                    journal.keep, entry.accepted, outcome, ended.made, flushed=entry.is_durable
                )
        except (StorageFullError, StoreError, OSError) as error:
            passes = isinstance(error, StoreUnavailableError) and error.reason in {
                "away",
                "failing",
            }
            is_late = time.monotonic() > give_up_at and not passes
            can_fail = ended.state == "succeeded" and is_late
            if can_fail or not entry.is_durable:
                raise
            if entry.is_suspended:
                raise SuspendedError from error
            _log.warning("the outcome of a job cannot be written yet", problem=str(error))
            await asyncio.sleep(_PAUSE_S)


def _problem_of(error: OSError | ConvlastError) -> Problem:
    """Describe why a result cannot be stored."""
    if isinstance(error, ConvlastError):
        return Problem.of(error)
    _log.error("a result cannot be stored", exc_info=error)
    return Problem.of(InternalError("The result cannot be stored."))
