"""A job in memory: its state, how far it is, and the clients that wait for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from convlast.jobs import JobState
from convlast.options import Options
from convlast.progress import IN_BYTES
from service.errors import NotFoundError
from service.jobs.records import Accepted, KeptFile, Outcome
from service.jobs.shared_folder import SharedFolder
from service.jobs.stage_clock import StageClock
from service.jobs.standing import Standing
from service.jobs.tracing.job_trace import JobTrace
from service.jobs.tracing.traceparent import Traceparent
from service.problems import Problem
from service.storage.inputs import InputKey
from service.storage.slices import Slice
from service.storage.workspace import JobFolder

SEQ_OF_ATTEMPT = 1_000_000
"""Sequence numbers of an attempt begin at least at this times its number."""

_MOST_CHANGES_PER_S = 100
"""After a restart the sequence numbers go on from the age of the job times this, so that they grow
across restarts also if no attempt has begun in between."""

DOWNLOAD, DELIVER = "download", "deliver"
"""The stages of a job before and after its worker."""

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
        is_elsewhere: Whether other services know it, and this one only reads it.
        is_suspended: Whether it is stopped without an outcome, and goes on after a restart.
        standing: How far it is.
        fetched_sha256: The digest of its checkpoint, in hexadecimal, once that is fetched.
        upload_s: Wall time of its upload.
        transfer_s: Wall times of what was moved from and to stores, by stage.
        clock: Times the stages of the current attempt.
        trace: Hears how far it is, if it is traced.
        waiters: How many requests wait for its end, or have not opened its files since.
        folder: Its folder, while it waits or runs.
        source: Where its checkpoint is meanwhile.
        task: What runs it.
        outcome: How it has ended.
        problem: Why it failed, with the report if there is one; none after a restart.
        opens: Opens one of its files by its name, once it has some.
        shared: That folder, if the result is not stored.
        written: Its description as it was written last, with what that depends on.
    """

    folder: JobFolder
    source: Path

    def __init__(self, accepted: Accepted, *, attempts: int = 0, age_s: float = 0) -> None:
        self.accepted = accepted
        self.is_durable = self.is_kept = self.is_suspended = self.is_ending = False
        self.holds_input = self.is_elsewhere = False
        self.clock = StageClock()
        self.trace = JobTrace(Traceparent.read(accepted.traceparent))
        self.waiters = 0
        self.task: asyncio.Task[None] | None = None
        self.outcome: Outcome | None = None
        self.problem: Problem | None = None
        self.opens: Callable[[str], Slice] | None = None
        self.shared: SharedFolder | None = None
        self.fetched_sha256: str | None = None
        self.upload_s = 0.0
        self.transfer_s: dict[str, float] = {}
        first = attempts * SEQ_OF_ATTEMPT + 1 + int(max(age_s, 0) * _MOST_CHANGES_PER_S)
        self.standing = Standing(seq=first, attempts=attempts)
        self._stage_began_s = time.monotonic()
        self._news = asyncio.Event()
        self.written: tuple[tuple[int, str], bytes] | None = None

    @property
    def id(self) -> str:
        """Its id."""
        return self.accepted.id

    @property
    def input_key(self) -> InputKey:
        """Names its checkpoint."""
        return InputKey(self.accepted.owner, self.accepted.sha256)

    @property
    def sha256(self) -> str | None:
        """The digest of its checkpoint, in hexadecimal, if that is or was here."""
        told = self.outcome.sha256 if self.outcome else None
        return self.accepted.sha256 or self.fetched_sha256 or told

    @property
    def state(self) -> JobState:
        """Its state."""
        if self.outcome is not None:
            return self.outcome.state
        return "queued" if self.standing.started_at is None else "running"

    @property
    def made(self) -> Mapping[str, KeptFile]:
        """The files that it has made, by their names in its folder."""
        return self.outcome.files if self.outcome else {}

    def open(self, names: Sequence[str]) -> list[Slice]:
        """Open files that it has made, in a thread; whoever reads them closes them.

        Raises:
            NotFoundError: If one is not there.
        """
        if self.opens is None:
            raise NotFoundError("There is no such file.")
        with ExitStack() as opened:
            files = []
            for name in names:
                files.append(self.opens(name))
                opened.callback(files[-1].close)
            opened.pop_all()
        return files

    def has_files(self) -> bool:
        """Return whether all files that it has made are there."""
        try:
            files = self.open(list(self.made))
        except NotFoundError:
            return False
        for file in files:
            file.close()
        return True

    @property
    def has_ended(self) -> bool:
        """Whether it has an outcome, or gets none before a restart."""
        return self.outcome is not None or self.is_suspended

    @property
    def seq(self) -> int:
        """Grows with every change."""
        return self.outcome.seq if self.outcome else self.standing.seq

    @property
    def attempts(self) -> int:
        """How often it was begun."""
        return self.standing.attempts

    def waits_at(self, place: int, wait_s: float) -> None:
        """Note its place in the queue, and how long it will probably wait there."""
        if (place, wait_s) != (self.standing.place, self.standing.wait_s):
            queued = {"stage": "queue", "done": 0, "total": place, "remaining_s": None}
            self._change(place=place, wait_s=wait_s, **queued)

    def waits_again(self) -> None:
        """Note that an attempt has failed, and that another one will follow."""
        self.clock = StageClock()
        self._change(started_at=None, stage="queue", done=0, total=0, remaining_s=None)

    def begins_on(self, device: str) -> None:
        """Note that a worker begins."""
        self.clock.begins()
        started_at = self.standing.started_at or time.time()
        self._change(place=None, wait_s=None, device=device, started_at=started_at)

    def begins_attempt(self) -> None:
        """Note that it is begun once more."""
        attempts = self.attempts + 1
        self._change(attempts=attempts, seq=max(self.standing.seq, attempts * SEQ_OF_ATTEMPT))

    def goes_on(self, stage: str, done: int, total: int) -> None:
        """Note how far it is."""
        self.clock.goes_on(stage)
        before = self.standing
        if stage != before.stage or total != before.total or done < before.done:
            self._stage_began_s = time.monotonic()
        passed_s = time.monotonic() - self._stage_began_s
        is_told = stage in IN_BYTES and passed_s > _MIN_RATE_S and 0 < done <= total
        remaining_s = round(passed_s * (total - done) / done, 1) if is_told else None
        self._change(stage=stage, done=done, total=total, remaining_s=remaining_s)

    def hears(self, standing: Standing) -> None:
        """Note how far it is with another service."""
        if standing.seq > self.standing.seq:
            self.standing = standing
            self._wake()

    def moves(self, stage: str, done: int, total: int) -> None:
        """Note how far it is from or to a store, where no worker has it."""
        self.goes_on(stage, done, total)
        self.trace.goes_on(stage, done, total)

    def ends(self, outcome: Outcome, problem: Problem | None = None) -> None:
        """Note how it has ended."""
        self.outcome, self.problem = outcome, problem
        attempts = max(self.attempts, outcome.attempt)
        self._change(place=None, wait_s=None, device=outcome.device, attempts=attempts)

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
        return self.standing.seq + 1

    def _change(self, **changes: Any) -> None:
        seq = changes.pop("seq", self.standing.seq) + 1
        self.standing = self.standing.model_copy(update={**changes, "seq": seq})
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

    def changed_options(self) -> dict[str, object]:
        """Return the options that are not at their defaults."""
        options, defaults = self.accepted.options, Options().model_dump(mode="json")
        return {name: value for name, value in options.items() if value != defaults.get(name)}
