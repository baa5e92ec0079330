"""The client for programs without an event loop, and for notebooks, whose loop is busy."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

import httpx
from anyio.from_thread import start_blocking_portal

from convlast.client.async_jobs import ATTEMPTS, PATIENCE_S, TIMEOUT_S
from convlast.client.asynchronous import AsyncClient
from convlast.jobs import JobState, JobStatus, JobVerb
from convlast.options import Options
from convlast.progress import Progress
from convlast.report import Report

T = TypeVar("T")
_OPTIONS = Options()
_UNWIND_S = 10.0
"""How long an interrupted call waits until its job is cancelled and its files are deleted."""


class Client:
    """A connection to one service: `AsyncClient`, run in a thread of its own.

    Its verbs, their arguments and errors are those of `AsyncClient`, and so is what it repeats.
    Progress is told in the client's thread. An interruption, such as Ctrl-C, ends a call at once.

    >>> with Client("http://127.0.0.1:8000") as client:  # doctest: +SKIP
    ...     report = client.convert("model.pt", "model.channels_last_3d.pt")
    """

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        timeout_s: float = TIMEOUT_S,
        attempts: int = ATTEMPTS,
        patience_s: float = PATIENCE_S,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Prepare a client; nothing is sent yet.

        Args:
            url: The address of the service, e.g. `http://127.0.0.1:8000`.
            key: The bearer key, if the service needs one.
            timeout_s: How long the service may be silent; a job may take longer.
            attempts: How many times to try a request that may succeed if it is repeated.
            patience_s: How long to go on with a job while the service cannot be reached.
            transport: Carries the requests; only tests replace it.

        Raises:
            OptionError: If the address is not an HTTP address, or the key cannot be sent.
        """
        self._client = AsyncClient(
            url,
            key=key,
            timeout_s=timeout_s,
            attempts=attempts,
            patience_s=patience_s,
            transport=transport,
        )
        held = ExitStack()
        self._portal = held.enter_context(start_blocking_portal())
        held.callback(self._portal.call, self._client.aclose)
        self._close = weakref.finalize(self, held.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection, and end the thread. Jobs go on."""
        self._close()

    def convert(
        self,
        source: str | os.PathLike[str],
        target: str | os.PathLike[str],
        options: Options = _OPTIONS,
        *,
        overwrite: bool = True,
        progress: Progress | None = None,
    ) -> Report:
        """Have the service convert a checkpoint, and write the artifact, whole or not at all.

        If this is interrupted, the job is cancelled.

        Args:
            source: The checkpoint; or its address, from which the service fetches it.
            target: The file to write, or the folder for it; of an address perhaps the address of a
                folder, to which the service delivers.
            options: What to convert, and how.
            overwrite: Whether a file of this machine that is there may be replaced.
            progress: Called as `progress(stage, done, total)`: `upload`, `queue`, the stages of the
                job, `download`.

        Returns:
            The service's report.

        Raises:
            OptionError: If the artifact would replace the checkpoint, or cannot be written there.
            StorageFullError: If there is no room for the artifact.
            VerificationError: If the proof failed; the error has the report.
            RemoteError: If the service refuses, with the code of its problem, or does not answer.
        """
        convert = partial(self._client.convert, overwrite=overwrite, progress=progress)
        return self._run(partial(convert, source, target, options))

    def inspect(
        self,
        source: str | os.PathLike[str],
        options: Options = _OPTIONS,
        *,
        progress: Progress | None = None,
    ) -> Report:
        """Have the service report on a checkpoint, without converting it.

        Raises:
            RemoteError: If the service refuses, with the code of its problem, or does not answer.
        """
        return self._run(partial(self._client.inspect, source, options, progress=progress))

    def submit(
        self,
        source: str | os.PathLike[str],
        options: Options = _OPTIONS,
        verb: JobVerb = "convert",
        *,
        target: str | None = None,
        progress: Progress | None = None,
    ) -> JobStatus:
        """Have the service begin a job, and do not wait for it; send no bytes that it has.

        Raises:
            RemoteError: If the service refuses, with the code of its problem, or does not answer.
        """
        submit = partial(self._client.submit, target=target, progress=progress)
        return self._run(partial(submit, source, options, verb))

    def job(self, job_id: str) -> JobStatus:
        """Return the status of a job.

        Raises:
            RemoteError: If there is no such job (`not-found`, `gone`), or the service does not
                answer.
        """
        return self._run(partial(self._client.job, job_id))

    def jobs(self, state: JobState | None = None) -> Iterator[JobStatus]:
        """Yield the caller's jobs, newest first; all, or those in one state.

        Raises:
            RemoteError: If the service refuses, or does not answer.
        """
        return self._iterated(self._client.jobs(state))

    def follow(self, job_id: str) -> Iterator[JobStatus]:
        """Yield the status of a job and then each change, until it is finished.

        Raises:
            RemoteError: If there is no such job, or the service does not answer for `patience_s`.
        """
        return self._iterated(self._client.follow(job_id))

    def wait(self, job_id: str, progress: Progress | None = None) -> JobStatus:
        """Wait until a job is finished, and return its status: it may have failed.

        Raises:
            RemoteError: If there is no such job, or the service does not answer for `patience_s`.
        """
        return self._run(partial(self._client.wait, job_id, progress))

    def fetch(
        self,
        job_id: str,
        target: str | os.PathLike[str],
        *,
        overwrite: bool = True,
        progress: Progress | None = None,
    ) -> Report:
        """Write the artifact of a finished job, whole or not at all; return the report.

        Raises:
            OptionError: If the artifact cannot be written there.
            StorageFullError: If there is no room for the artifact.
            VerificationError: If the proof failed; the error has the report.
            RemoteError: If the job failed, is not finished (`conflict`) or has no artifact, or if
                the service does not answer for `patience_s`.
        """
        fetch = partial(self._client.fetch, job_id, target, overwrite=overwrite, progress=progress)
        return self._run(fetch)

    def report(self, job_id: str) -> Report:
        """Return the report of a finished job.

        Raises:
            RemoteError: If the job has none, or the service does not answer.
        """
        return self._run(partial(self._client.report, job_id))

    def provenance(self, job_id: str) -> bytes:
        """Return what the service states of a finished conversion: what the artifact is made of.

        Returns:
            A statement of in-toto as JSON; in a DSSE envelope if the service has a key.

        Raises:
            RemoteError: If there is no artifact, the service does not answer, or its answer is no
                statement.
        """
        return self._run(partial(self._client.provenance, job_id))

    def cancel(self, job_id: str) -> JobStatus:
        """Stop a job that is queued or running, and return its status; leave a finished one.

        Raises:
            RemoteError: If there is no such job, or the service does not answer; `gone` if it ended
                while it was being cancelled, and was removed.
        """
        return self._run(partial(self._client.cancel, job_id))

    def remove(self, job_id: str) -> None:
        """Remove a finished job and its files. This is never repeated.

        Raises:
            RemoteError: If there is no such job, it is not finished (`conflict`), or the service
                does not answer.
        """
        self._run(partial(self._client.remove, job_id))

    def _run(self, verb: Callable[[], Awaitable[T]]) -> T:
        """Run a verb in the client's thread; if this one is interrupted, cancel it first."""
        ended = threading.Event()

        async def work() -> T:
            try:
                return await verb()
            finally:
                ended.set()

        future = self._portal.start_task_soon(work)
        try:
            return future.result()
        except BaseException:
            if future.cancel():
                ended.wait(_UNWIND_S)
            raise

    def _iterated(self, source: AsyncGenerator[T]) -> Iterator[T]:
        """Yield what an asynchronous generator yields."""
        end = object()

        async def step() -> T | object:
            return await anext(source, end)

        try:
            while (found := self._run(step)) is not end:
                yield found  # type: ignore[misc]  # mypy cannot tell the end from a T
        finally:
            with suppress(RuntimeError):  # the client was closed, and the stream with it
                self._run(source.aclose)
