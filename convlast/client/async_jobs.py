"""The jobs of a service, for programs that have an event loop."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from convlast.client.answers import read_job
from convlast.client.connection import Connection
from convlast.client.following import Following
from convlast.client.job_requests import JobRequests, path_of
from convlast.client.patience import Patience
from convlast.client.result import Place, refuse_delivery
from convlast.client.stages import JobStages
from convlast.client.submission import Submission, ask_for
from convlast.jobs import JobState, JobStatus, JobVerb
from convlast.options import Options
from convlast.progress import Progress, silent
from convlast.report import Report
from convlast.stores.address import is_address

TIMEOUT_S, ATTEMPTS, PATIENCE_S = 120.0, 5, 300.0
_OPTIONS = Options()


class AsyncJobs:
    """A connection to one service, and the jobs there.

    A request is repeated only if that is safe. `job`, `jobs`, `report` and `submit` are tried
    `attempts` times: the same request gives the same job. `follow`, `wait` and `fetch` go on for
    `patience_s` while the service cannot be reached, as when it is restarted. `cancel` asks
    whether the job still runs before each try. `remove` is sent once.
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
        self._connection = Connection(url, key, timeout_s, transport)
        self._requests = JobRequests(self._connection, attempts, patience_s)
        self._attempts, self._patience_s = attempts, patience_s

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connection. Jobs go on."""
        await self._connection.close()

    async def submit(
        self,
        source: str | os.PathLike[str],
        options: Options = _OPTIONS,
        verb: JobVerb = "convert",
        *,
        target: str | None = None,
        progress: Progress | None = None,
    ) -> JobStatus:
        """Have the service begin a job, and do not wait for it.

        The file is sent only if the service does not have its bytes. The same request gives the
        same job, which may be finished already.

        Args:
            source: The checkpoint; or its address, from which the service fetches it.
            options: What to convert, and how.
            verb: `convert` or `inspect`.
            target: The address of a folder to which the service delivers the artifact.
            progress: Called as `progress(stage, done, total)`, with `upload`.

        Raises:
            OptionError: If there is a target for a file of this machine.
            RemoteError: If the service refuses, with the code of its problem, or does not answer.
        """
        patience, named = Patience(attempts=self._attempts), os.fsdecode(source)
        if is_address(named):
            names = {"source": named, **({"target": target} if target else {})}
            ask = ask_for(verb, names, options)
            return await self._connection.repeated(ask, read_job, patience)
        refuse_delivery(target)
        submission = Submission(self._connection, verb, Path(source), options)
        return await submission.send(patience, progress or silent)

    async def job(self, job_id: str) -> JobStatus:
        """Return the status of a job.

        Raises:
            RemoteError: If there is no such job (`not-found`, `gone`), or the service does not
                answer.
        """
        return await self._requests.get(job_id, is_patient=False)

    async def jobs(self, state: JobState | None = None) -> AsyncGenerator[JobStatus]:
        """Yield the caller's jobs, newest first.

        Args:
            state: The state of those that are wanted; None for all.

        Raises:
            RemoteError: If the service refuses, or does not answer.
        """
        async with aclosing(self._requests.listed(state)) as found:
            async for job in found:
                yield job

    async def follow(self, job_id: str) -> AsyncGenerator[JobStatus]:
        """Yield the status of a job and then each change, until it is finished.

        If events do not arrive, the client asks about once a second.

        Raises:
            RemoteError: If there is no such job, or the service does not answer for `patience_s`.
        """
        patience = Patience(limit_s=self._patience_s)
        following = Following(self._connection, path_of(job_id), patience)
        async with aclosing(following.statuses()) as statuses:
            async for status in statuses:
                yield status

    async def wait(self, job_id: str, progress: Progress | None = None) -> JobStatus:
        """Wait until a job is finished, and return its status: it may have failed.

        Args:
            job_id: The job.
            progress: Called as `progress(stage, done, total)`: `queue`, the stages of the job.

        Raises:
            RemoteError: If there is no such job, or the service does not answer for `patience_s`.
        """
        stages = JobStages(progress or silent)
        async with aclosing(self.follow(job_id)) as statuses:
            async for status in statuses:
                stages.tell(status)
        return status

    async def fetch(
        self,
        job_id: str,
        target: str | os.PathLike[str],
        *,
        overwrite: bool = True,
        progress: Progress | None = None,
    ) -> Report:
        """Write the artifact of a finished job, whole or not at all.

        A download that is cut goes on with the missing bytes.

        Args:
            job_id: The job.
            target: The file to write, or the folder for it.
            overwrite: Whether a file that is there may be replaced.
            progress: Called as `progress(stage, done, total)`, with `download`.

        Returns:
            The service's report.

        Raises:
            OptionError: If the artifact cannot be written there.
            StorageFullError: If there is no room for the artifact.
            VerificationError: If the proof failed; the error has the report.
            RemoteError: If the job failed, with the code of its problem; if it is not finished
                (`conflict`) or has no artifact; or if the service does not answer for `patience_s`.
        """
        place = Place(Path(target), overwrite=overwrite)
        with place.workplace() as folder:
            job = await self._requests.get(job_id, is_patient=True)
            return await self._requests.download(job, place, folder, progress or silent)

    async def report(self, job_id: str) -> Report:
        """Return the report of a finished job.

        Raises:
            RemoteError: If the job has none, or the service does not answer.
        """
        return await self._requests.report(job_id, is_patient=False)

    async def provenance(self, job_id: str) -> bytes:
        """Return what the service states of a finished conversion: what the artifact is made of.

        Returns:
            A statement of in-toto as JSON; in a DSSE envelope if the service has a key.

        Raises:
            RemoteError: If there is no artifact, the service does not answer, or its answer is no
                statement.
        """
        return await self._requests.provenance(job_id)

    async def cancel(self, job_id: str) -> JobStatus:
        """Stop a job that is queued or running, and return its status; leave a finished one.

        Raises:
            RemoteError: If there is no such job, or the service does not answer; `gone` if it ended
                while it was being cancelled, and was removed.
        """
        return await self._requests.cancel(job_id)

    async def remove(self, job_id: str) -> None:
        """Remove a finished job and its files. This is never repeated.

        Raises:
            RemoteError: If there is no such job, it is not finished (`conflict`), or the service
                does not answer.
        """
        await self._requests.remove(job_id)
