"""A board of jobs with fake workers: each run waits until the test lets it go on."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import os
import secrets
import shutil
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, ParamSpec

from convlast.jobs import JobVerb
from convlast.options import Options
from service.access import places
from service.jobs.board import Jobs
from service.jobs.entry import JobEntry
from service.jobs.others import Others
from service.jobs.running.runs import Queueing
from service.jobs.submission import Source, Submission
from service.settings import Settings
from service.storage.slices import FileSlice
from service.storage.workspace import Workspace
from service.transfers import Transfers
from service.transfers.access import StoreAccess
from service.workers import (
    REPORT_HTML,
    REPORT_JSON,
    Finished,
    Health,
    Job,
    JobFiles,
    Listener,
    Made,
)

P = ParamSpec("P")

LONGEST_S = 60
"""A test that takes longer hangs."""


def in_loop(test: Callable[P, Awaitable[None]]) -> Callable[P, None]:
    """Run an asynchronous test in an event loop of its own."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        async def main() -> None:
            async with asyncio.timeout(LONGEST_S):
                await test(*args, **kwargs)

        asyncio.run(main())

    return run


class Run:
    """One run of a job by fake workers, which does what the test says.

    Attributes:
        job: The job.
        files: Its files.
        listener: Hears about it.
        share: The client that it counts for.
        turn: Set when its turn has come.
        begun: Set when its listener has let it begin.
        answer: Its answer: an error, or none for a success.
        is_gone: Whether its process has ended.
    """

    def __init__(self, job: Job, files: JobFiles, listener: Listener, share: str) -> None:
        self.job, self.files, self.listener, self.share = job, files, listener, share
        self.turn, self.begun = asyncio.Event(), asyncio.Event()
        self.answer: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self.is_gone = False

    async def begin(self) -> None:
        """Let a worker begin."""
        self.turn.set()
        await self.begun.wait()

    def succeed(self) -> None:
        """Let it succeed."""
        self.turn.set()
        self.answer.set_result(None)

    def fail(self, error: Exception) -> None:
        """Let it fail."""
        self.turn.set()
        self.answer.set_result(error)


class FakeWorkers:
    """Workers of a test.

    Attributes:
        runs: All runs so far.
        is_prompt: Whether each run succeeds at once.
        device_kind: What `kind` tells.
    """

    def __init__(self, *, is_prompt: bool = False) -> None:
        self.runs: list[Run] = []
        self.is_prompt, self.device_kind = is_prompt, "cpu"
        self._taken = 0

    async def start(self) -> None:
        """Do nothing."""

    async def stop(self) -> None:
        """Do nothing."""

    async def kind(self) -> str:
        """Return the kind of device that the test has set."""
        return self.device_kind

    def health(self) -> Health:
        """Be healthy."""
        return Health(ready=True, busy=bool(self.live), waiting=len(self.live))

    @property
    def live(self) -> list[Run]:
        """The runs that have not ended."""
        return [run for run in self.runs if not run.is_gone]

    async def run(self, job: Job, files: JobFiles, listener: Listener, *, share: str) -> Finished:
        """Run a job as the test says."""
        content = files.source.read_bytes()
        run = Run(job, files, listener, share)
        self.runs.append(run)
        try:
            if self.is_prompt:
                run.succeed()
            await run.turn.wait()
            await listener.begins(self.device_kind)
            run.begun.set()
            if (error := await asyncio.shield(run.answer)) is not None:
                raise error
            return write_files(job, files.folder, content)
        finally:
            await asyncio.sleep(0)  # the end of a process takes a moment
            run.is_gone = True

    async def next(self) -> Run:
        """Wait for the next run."""
        while len(self.runs) <= self._taken:  # noqa: ASYNC110  # polled, to keep the fake simple
            await asyncio.sleep(0.001)
        self._taken += 1
        return self.runs[self._taken - 1]


def write_files(job: Job, folder: Path, content: bytes) -> Finished:
    """Write the files of a job that has succeeded, and return the answer of its worker."""
    texts = {REPORT_JSON: b'{"verdict": "passed"}', REPORT_HTML: b"<!doctype html>"}
    made_bytes = content if job.is_packed else artifact_of(content)
    if job.verb == "convert":
        extension = "tar" if job.is_packed else "pt"
        texts[f"{Path(job.filename).stem}.channels_last_3d.{extension}"] = made_bytes
    made = {}
    for name, text in texts.items():
        (folder / name).write_bytes(text)
        made[name] = Made(filename=name, crc32=zlib.crc32(text))
    *reports, last = made.values()
    artifact = last if job.verb == "convert" else None
    return Finished(
        verdict="passed",
        artifact=artifact,
        artifact_sha256=hashlib.sha256(made_bytes).hexdigest() if artifact else None,
        reports=reports if artifact else [*reports, last],
        seconds={"queue": 0.0, "convert": 0.1},
    )


def artifact_of(content: bytes) -> bytes:
    """Return the artifact that fake workers make of a checkpoint."""
    return b"converted: " + content


class Board:
    """A board and its parts.

    Attributes:
        settings: The settings.
        workers: The workers of both verbs.
        workspace: The work folder.
        transfers: Fetches and delivers.
        pending: The places of durable jobs.
        others: The services that share a store with it.
        jobs: The board.
    """

    def __init__(
        self,
        folder: Path,
        workers: FakeWorkers,
        transfers: Transfers | None = None,
        *,
        others: Others | None = None,
        **settings: Any,
    ) -> None:
        self.settings = Settings(work_dir=folder, device="cpu", **settings)
        self.workers = workers
        self.workspace = Workspace(self.settings)
        self.transfers = transfers or Transfers.of(self.settings, StoreAccess())
        self.pending, self.others = places.of_pending_jobs(self.settings), others
        self.jobs = Jobs(
            self.settings,
            self.workspace,
            {"convert": workers, "inspect": workers},
            self.transfers,
            Queueing(lambda place: 10.0 * place, self.pending.hold),
            others=others,
        )

    def wanted(
        self,
        content: bytes = b"checkpoint",
        *,
        owner: str = "alice",
        verb: JobVerb = "convert",
        durable: bool = False,
        kept: bool = False,
        filename: str = "m.pt",
        **options: Any,
    ) -> Submission:
        """Upload a checkpoint, and return a request for a job with it."""
        folder = self.workspace.new_job()
        folder.take(len(content))
        folder.upload.write_bytes(content)
        sha256 = hashlib.sha256(content).hexdigest()
        return Submission(
            owner=owner,
            share=owner,
            verb=verb,
            source=Source(filename, sha256, len(content), Options(**options)),
            folder=folder,
            upload_s=0.5,
            is_durable=durable,
            is_kept=kept,
        )

    def named(self, content: bytes, *, owner: str = "alice", durable: bool = False) -> Submission:
        """Return a request for a job with a checkpoint that the service has."""
        wanted = self.wanted(content, owner=owner, durable=durable)
        wanted.folder.upload.unlink()
        source = Source("m.pt", wanted.source.sha256, len(content), Options(), is_held=True)
        return Submission(
            owner=owner,
            share=owner,
            verb="convert",
            source=source,
            folder=wanted.folder,
            upload_s=0.0,
            is_durable=durable,
        )

    async def submit(self, content: bytes = b"checkpoint", **more: Any) -> JobEntry:
        """Upload a checkpoint, and submit a job with it."""
        return await self.submitted(self.wanted(content, **more))

    async def submitted(self, wanted: Submission) -> JobEntry:
        """Submit a job; what a refused request has uploaded is removed."""
        try:
            return await self.jobs.submit(wanted)
        finally:
            if not wanted.is_taken:
                wanted.folder.remove()

    def files(self) -> set[str]:
        """Return the files and folders of jobs in the work folder, as relative paths."""
        root = self.settings.work_dir
        found = {
            str(Path(folder, name).relative_to(root))
            for folder, folders, names in os.walk(root)
            for name in (*folders, *names)
        }
        return found - {"jobs", "store", "inputs", "lock"}


@asynccontextmanager
async def opened(
    folder: Path,
    workers: FakeWorkers | None = None,
    transfers: Transfers | None = None,
    *,
    others: Others | None = None,
    **settings: Any,
) -> AsyncIterator[Board]:
    """Start a board in a folder, and stop it."""
    board = Board(folder, workers or FakeWorkers(), transfers, others=others, **settings)
    await board.jobs.start()
    try:
        yield board
    finally:
        await board.jobs.stop()
        await board.transfers.close()
        board.workspace.close()


def left_by_a_crash(board: Board) -> Path:
    """Return a copy of the work folder as it is now: what a crash at this moment leaves."""
    root = board.settings.work_dir
    return shutil.copytree(root, root.with_name(f"{root.name}-{secrets.token_hex(4)}"))


async def ended(entry: JobEntry) -> JobEntry:
    """Wait until a job has its outcome, its task is done, and its clients have their answers."""
    await entry.until(lambda: entry.outcome is not None)
    if entry.task is not None:
        await asyncio.wait({entry.task})
    entry.waiters = 0
    return entry


async def end_of(entry: JobEntry) -> None:
    """Wait for the end of a job, wherever it runs."""
    await entry.until(lambda: entry.outcome is not None)


def content_of(entry: JobEntry, name: str) -> bytes:
    """Return the bytes of a file that a job has made."""
    [file] = entry.open([name])
    with closing(file):
        return file.read()


def path_of(entry: JobEntry, name: str) -> Path:
    """Return where a file is that a job has made."""
    [file] = entry.open([name])
    with closing(file):
        assert isinstance(file, FileSlice)
        return Path(f"/proc/self/fd/{file.file.fileno()}").readlink()


def code_of(entry: JobEntry) -> str | None:
    """Return the code of a job's problem."""
    problem = entry.outcome.problem if entry.outcome else None
    return problem["code"] if problem else None
