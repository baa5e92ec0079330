"""Runs a job: one attempt, or more if a worker crashes."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog

from convlast.errors import ConvlastError, StoreError
from convlast.options import Options
from convlast.places.removal import remove_tree
from service.access.signing import SigningKey
from service.cancellation import completed
from service.errors import InternalError, NotReadyError, WorkerCrashedError, full_disk_as_problem
from service.jobs.entry import JobEntry
from service.jobs.journal import Journal
from service.jobs.others import TakenError
from service.jobs.running.endings import Ended
from service.jobs.running.results import check, check_report
from service.jobs.running.stating import Stating
from service.jobs.running.transferring import deliver, fetch
from service.problems import Problem, ProblemError
from service.settings import Settings
from service.threads import RECORDING, REMOVING, STORING
from service.transfers import Transfers
from service.workers import Finished, Job, JobFiles, Workers

MOST_ATTEMPTS: Mapping[str, int] = {"worker-crashed": 2, "device-lost": 3}
"""How many attempts of a durable job may end with this code. With other codes it has failed;
`not-ready` is waited for, see `PATIENCE_S`."""

RUN_ANEW = frozenset(
    {
        *MOST_ATTEMPTS,
        *("not-ready", "timed-out", "internal", "storage-full", "out-of-memory"),
        *("address-not-allowed", "source-not-found", "source-changed", "store-unavailable"),
    }
)
"""The codes of failures that have nothing to do with the request: it is run again if it comes
again."""

MOST_RESTARTS = 3
"""How often a job may be begun if the service ends each time, which the job may be the cause of."""

PATIENCE_S = 600.0
"""How long a durable job waits for a device that works."""

_PAUSE_S = 1.0
_UNPACKING = "files"
"""The stage whose total is the size of an archive's contents in bytes."""

_log = structlog.get_logger()


class Attempts:
    """Runs jobs."""

    def __init__(
        self,
        settings: Settings,
        journal: Journal,
        workers: Mapping[str, Workers],
        transfers: Transfers,
        estimate_s: Callable[[int], float],
        key: SigningKey,
    ) -> None:
        """Set up.

        Args:
            settings: The settings.
            journal: Writes down durable jobs.
            workers: The workers for each verb.
            transfers: Fetches checkpoints, and delivers results.
            estimate_s: Returns how long a job at this place of the queue will probably wait.
            key: Signs what is stated of artifacts.
        """
        self._stating = Stating(settings, key)
        self._settings, self._journal, self._workers = settings, journal, workers
        self._transfers, self._estimate_s = transfers, estimate_s

    async def run(self, entry: JobEntry) -> Ended:
        """Begin attempts until one of them decides.

        Raises:
            TakenError: If another service has begun the job.
            CancelledError: If this is cancelled; the worker's process is gone then.
        """
        if entry.attempts >= MOST_RESTARTS:
            times = f"{entry.attempts} times"
            error = WorkerCrashedError(f"The service ended {times} while the job ran.")
            return Ended("failed", Problem.of(error))
        waits_until: float | None = None
        # An attempt that was lost with its service, or its node, is not the fault of the worker.
        ends: Counter[str] = Counter()
        while True:
            attempts = entry.attempts
            ended = await self._attempt(entry)
            code = ended.problem.code if ended.problem else ""
            # An attempt that did not begin is not counted, so time limits those.
            has_begun = entry.attempts > attempts
            has_waited = code == "not-ready" or not has_begun
            ends[code] += has_begun
            now_s = time.monotonic()
            waits_until = (waits_until or now_s + PATIENCE_S) if has_waited else None
            is_in_time = now_s < waits_until if waits_until else True
            is_repeatable = code == "not-ready" or ends[code] < MOST_ATTEMPTS.get(code, 0)
            if not (entry.is_durable and is_repeatable and is_in_time):
                return ended
            _log.warning("job is tried again", code=code, attempts=entry.attempts)
            if ended.made is not None:
                await REMOVING.run(remove_tree, ended.made)
            entry.waits_again()
            await asyncio.sleep(_PAUSE_S)

    async def _attempt(self, entry: JobEntry) -> Ended:
        """Make one attempt."""
        made: Path | None = None
        finished: Finished | None = None
        try:
            with full_disk_as_problem():
                await fetch(entry, self._transfers)
                entry.trace.waits()
                # If this is cancelled, no thread may still be at work in the folder.
                made = await completed(RECORDING.run(entry.folder.new_work))
                work = self._workers[entry.accepted.verb].run(
                    self._job(entry),
                    JobFiles(source=entry.source, folder=made),
                    _Listener(entry, self),
                    share=entry.accepted.share,
                )
                finished = await work
                entry.clock.stops()
                has_artifact = entry.accepted.verb == "convert"
                files = await completed(
                    RECORDING.run(check, finished, made, has_artifact=has_artifact)
                )
                state = partial(self._stating.write, entry, finished, made)
                files = await deliver(entry, files, made, self._transfers, state)
            return Ended("succeeded", None, finished, files, made)
        except ProblemError as error:
            has_report = error.problem.report is not None
            checked = RECORDING.run(check_report, made) if made and has_report else None
            files = await completed(checked) if checked else {}
            return Ended("failed", error.problem, None, files, made)
        except TakenError:
            raise
        except ConvlastError as error:
            return Ended("failed", Problem.of(error), finished, made=made)
        except Exception as error:
            _log.error("job failed", exc_info=error)
            return Ended("failed", Problem.of(InternalError("The job failed.")), made=made)

    def _job(self, entry: JobEntry) -> Job:
        """Return the job as the workers get it.

        Raises:
            OptionError: If this version does not know its options.
        """
        accepted, settings = entry.accepted, self._settings
        return Job(
            id=accepted.id,
            request_id=accepted.request_id,
            trace_id=entry.trace.parent.trace_id if entry.trace.parent else None,
            verb=accepted.verb,
            filename=accepted.filename,
            sha256=entry.sha256,
            is_packed=accepted.is_packed,
            loaded_as=accepted.unpacked_as,
            options=Options(**accepted.options),
            limits=settings.limits,
            allow_programs=settings.allow_programs,
            architecture_prefixes=settings.architecture_prefixes,
        )

    async def claim(self, entry: JobEntry) -> None:
        """Note that an attempt begins; that of a durable job is written down first.

        Raises:
            TakenError: If another service has begun it.
            NotReadyError: If the store that services share is away.
            StorageFullError: If the disk is full.
        """
        if entry.is_durable:
            with full_disk_as_problem():
                attempt = entry.attempts + 1
                claimed = STORING.run(self._journal.claim, entry.accepted.name, attempt)
                try:
                    is_ours = await completed(claimed)
                except StoreError as error:  # which passes
                    task = asyncio.current_task()
                    if task is not None and task.cancelling():  # hidden by the error
                        raise asyncio.CancelledError from error
                    raise NotReadyError("The store does not answer.") from error
                if not is_ours:
                    raise TakenError
        entry.begins_attempt()

    def wait_s(self, place: int) -> float:
        """Return how long a job at this place of the queue will probably wait, in seconds."""
        return self._estimate_s(place)

    def check_unpacked(self, entry: JobEntry, total_bytes: int) -> None:
        """Count the contents of an archive against the quota.

        Raises:
            StorageFullError: If they do not fit.
            WorkerCrashedError: If a worker tells of more than is allowed.
        """
        if total_bytes > self._settings.max_unpacked_bytes:
            raise WorkerCrashedError.nonsense()
        entry.folder.take_unpacked(total_bytes)


@dataclass(frozen=True)
class _Listener:
    """Hears from the workers about one job."""

    entry: JobEntry
    attempts: Attempts

    def waits(self, place: int) -> None:
        """Note its place in the queue."""
        self.entry.waits_at(place, self.attempts.wait_s(place))

    async def begins(self, device: str) -> None:
        """Note that a worker has it."""
        await self.attempts.claim(self.entry)
        self.entry.begins_on(device)
        self.entry.trace.begins()

    def goes_on(self, stage: str, done: int, total: int) -> None:
        """Note how far it is."""
        if stage == _UNPACKING:
            self.attempts.check_unpacked(self.entry, total)
        self.entry.goes_on(stage, done, total)
        self.entry.trace.goes_on(stage, done, total)
