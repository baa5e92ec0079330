"""A job in memory: its state, how far it is, and the clients that wait for it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from convlast.jobs import JobInput, JobProgress, JobState, JobStatus
from convlast.options import Options
from convlast.progress import IN_BYTES
from service.jobs.job_trace import JobTrace
from service.jobs.records import ARTIFACT, Accepted, KeptFile, Outcome
from service.jobs.stage_clock import StageClock
from service.jobs.traceparent import Traceparent
from service.problems import Problem
from service.storage.inputs import InputKey
from service.storage.workspace import JobFolder
from service.workers import REPORT_HTML, REPORT_JSON

SEQ_OF_ATTEMPT = 1_000_000
"""Sequence numbers of an attempt begin at least at this times its number."""

_MOST_CHANGES_PER_S = 100
"""After a restart the sequence numbers go on from the age of the job times this, so that they grow
across restarts also if no attempt has begun in between."""

_MIN_RATE_S = 1.0
"""A stage's rate is told after this many seconds."""


class JobEntry:
    """A job that waits, runs, or has ended.

    Attributes:
        accepted: What is to be done.
        is_durable: Whether it is written down, and goes on when no client waits.
        is_kept: Whether its result is stored.
        is_ending: Whether its outcome is being decided, so that nobody can join it.
        holds_input: Whether its checkpoint is kept for it.
        is_suspended: Whether it is stopped without an outcome, and goes on after a restart.
        attempts: How often it was begun.
        upload_s: Wall time of its upload.
        clock: Times the stages of the current attempt.
        trace: Hears how far it is, if it is traced.
        waiters: How many requests wait for its end, or have not opened its files since.
        folder: Its folder, while it waits or runs.
        source: Where its checkpoint is meanwhile.
        task: What runs it.
        outcome: How it has ended.
        problem: Why it failed, with the report if there is one; none after a restart.
        files: The folder of its files, once it has some.
        shared: That folder, if the result is not stored.
    """

    folder: JobFolder
    source: Path

    def __init__(self, accepted: Accepted, *, attempts: int = 0, age_s: float = 0) -> None:
        self.accepted = accepted
        self.is_durable = self.is_kept = self.is_suspended = self.is_ending = False
        self.holds_input = False
        self.attempts = attempts
        self.clock = StageClock()
        self.trace = JobTrace(Traceparent.read(accepted.traceparent))
        self.waiters = 0
        self.task: asyncio.Task[None] | None = None
        self.outcome: Outcome | None = None
        self.problem: Problem | None = None
        self.files: Path | None = None
        self.shared: SharedFolder | None = None
        self.upload_s = 0.0
        self.started_at: float | None = None
        self.device: str | None = None
        self._place: int | None = None
        self._wait_s: float | None = None
        self._stage = ("queue", 0, 0)
        self._stage_began_s = time.monotonic()
        self._remaining_s: float | None = None
        self._seq = attempts * SEQ_OF_ATTEMPT + 1 + int(max(age_s, 0) * _MOST_CHANGES_PER_S)
        self._news = asyncio.Event()
        self._written: tuple[tuple[int, str], bytes] | None = None

    @property
    def id(self) -> str:
        """Its id."""
        return self.accepted.id

    @property
    def input_key(self) -> InputKey:
        """Names its checkpoint."""
        return InputKey(self.accepted.owner, self.accepted.sha256)

    @property
    def state(self) -> JobState:
        """Its state."""
        if self.outcome is not None:
            return self.outcome.state
        return "queued" if self.started_at is None else "running"

    @property
    def made(self) -> Mapping[str, KeptFile]:
        """The files that it has made, by their names in its folder."""
        return self.outcome.files if self.outcome else {}

    @property
    def has_ended(self) -> bool:
        """Whether it has an outcome, or gets none before a restart."""
        return self.outcome is not None or self.is_suspended

    @property
    def seq(self) -> int:
        """Grows with every change."""
        return self.outcome.seq if self.outcome else self._seq

    @property
    def stage(self) -> str:
        """What it does, or did last."""
        return self._stage[0]

    def waits_at(self, place: int, wait_s: float) -> None:
        """Note its place in the queue, and how long it will probably wait there."""
        if (place, wait_s) != (self._place, self._wait_s):
            self._place, self._wait_s = place, wait_s
            self._stage, self._remaining_s = ("queue", 0, place), None
            self._change()

    def waits_again(self) -> None:
        """Note that an attempt has failed, and that another one will follow."""
        self.started_at, self._stage, self._remaining_s = None, ("queue", 0, 0), None
        self.clock = StageClock()
        self._change()

    def begins_on(self, device: str) -> None:
        """Note that a worker begins."""
        self._place = self._wait_s = None
        self.clock.begins()
        self.device, self.started_at = device, self.started_at or time.time()
        self._change()

    def begins_attempt(self) -> None:
        """Note that it is begun once more."""
        self.attempts += 1
        self._seq = max(self._seq, self.attempts * SEQ_OF_ATTEMPT)
        self._change()

    def goes_on(self, stage: str, done: int, total: int) -> None:
        """Note how far it is."""
        self.clock.goes_on(stage)
        if stage != self._stage[0] or total != self._stage[2] or done < self._stage[1]:
            self._stage_began_s = time.monotonic()
        self._stage = (stage, done, total)
        passed_s = time.monotonic() - self._stage_began_s
        is_told = stage in IN_BYTES and passed_s > _MIN_RATE_S and 0 < done <= total
        self._remaining_s = round(passed_s * (total - done) / done, 1) if is_told else None
        self._change()

    def ends(self, outcome: Outcome, problem: Problem | None = None) -> None:
        """Note how it has ended."""
        self.outcome, self.problem = outcome, problem
        self._place = self._wait_s = None
        self._change()

    def suspend(self) -> None:
        """Note that it goes on after a restart; its status stays the same."""
        self.is_suspended = True
        self._wake()

    def release(self) -> None:
        """Note that a request has its answer; this may remove files, so call it in a thread."""
        if self.shared is not None:
            self.shared.release()

    def next_seq(self) -> int:
        """Return the sequence number of the end, which is the next change."""
        return self._seq + 1

    def _change(self) -> None:
        self._seq += 1
        self._wake()

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def changed(self) -> None:
        """Wait for the next change."""
        await self._news.wait()

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait until something is so, which is looked at after each change."""
        while not is_so():
            await self.changed()

    def document(self, *, base: str, max_age_s: float) -> bytes:
        """Return its status as JSON, written once for all that ask before it changes."""
        wanted = (self.seq, base)
        if self._written is None or self._written[0] != wanted:
            text = self.status(base=base, max_age_s=max_age_s).model_dump_json()
            self._written = (wanted, text.encode())
        return self._written[1]

    def status(self, *, base: str, max_age_s: float) -> JobStatus:
        """Describe it.

        Args:
            base: The URL below which its links are.
            max_age_s: How long a finished job is kept, in seconds.
        """
        accepted, outcome = self.accepted, self.outcome
        finished_at = outcome.finished_at if outcome else None
        return JobStatus(
            id=accepted.id,
            verb=accepted.verb,
            state=self.state,
            created_at=_time(accepted.created_at),
            started_at=_maybe_time(outcome.started_at if outcome else self.started_at),
            finished_at=_maybe_time(finished_at),
            expires_at=_maybe_time(finished_at and finished_at + max_age_s),
            input=JobInput(
                filename=accepted.filename, sha256=accepted.sha256, bytes=accepted.bytes
            ),
            options=self.changed_options(),
            attempts=self.attempts,
            device=self.device,
            place=self._place,
            wait_s=self._wait_s,
            progress=self._progress(),
            verdict=outcome.verdict if outcome else None,
            links=links_of(base, self),
            problem=outcome.problem if outcome else None,
        )

    def changed_options(self) -> dict[str, object]:
        """Return the options that are not at their defaults."""
        options, defaults = self.accepted.options, Options().model_dump(mode="json")
        return {name: value for name, value in options.items() if value != defaults.get(name)}

    def _progress(self) -> JobProgress:
        if self.outcome is not None:
            return JobProgress(stage="end", done=1, total=1, seq=self.seq)
        stage, done, total = self._stage
        unit = "bytes" if stage in IN_BYTES else "jobs" if stage == "queue" else "steps"
        return JobProgress(
            stage=stage,
            done=done,
            total=total,
            unit=unit,
            seq=self.seq,
            remaining_s=self._remaining_s,
        )


class SharedFolder:
    """The folder of a result that is not stored, removed when all clients have their answers."""

    def __init__(self, folder: JobFolder, holders: int) -> None:
        self._folder, self._holders = folder, holders
        self._changes = threading.Lock()

    def release(self) -> None:
        """Note that a client has its answer, or has left; any thread may call this."""
        with self._changes:
            self._holders -= 1
            is_last = self._holders == 0
        if is_last:
            self._folder.remove()


def links_of(base: str, entry: JobEntry) -> dict[str, str]:
    """Return the URLs of a job and of its files."""
    own = f"{base}/jobs/{entry.id}"
    return {"self": own, "events": f"{own}/events", **file_links_of(base, entry)}


def file_links_of(base: str, entry: JobEntry) -> dict[str, str]:
    """Return the URLs of the files of a job, if they are stored."""
    names = entry.made if entry.is_kept else {}
    paths = {
        "artifact": (ARTIFACT, "artifact"),
        "report": (REPORT_JSON, "report"),
        "html": (REPORT_HTML, "report.html"),
        "archive": (ARTIFACT, "archive"),
    }
    return {
        link: f"{base}/jobs/{entry.id}/{path}"
        for link, (name, path) in paths.items()
        if name in names
    }


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _maybe_time(seconds: float | None) -> datetime | None:
    return None if seconds is None else _time(seconds)
