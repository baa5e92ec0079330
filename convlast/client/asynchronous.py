"""The client for programs that have an event loop; `Client` runs it for all others."""

from __future__ import annotations

import os
from pathlib import Path

import anyio

from convlast.client.async_jobs import AsyncJobs
from convlast.client.result import Place
from convlast.errors import RemoteError
from convlast.jobs import JobStatus, JobVerb
from convlast.options import Options
from convlast.progress import Progress, silent
from convlast.report import Report

_OPTIONS = Options()
_CANCEL_S = 5.0
"""How long an interrupted client tries to cancel its job."""


class AsyncClient(AsyncJobs):
    """A connection to one service, on asyncio or trio.

    `convert` and `inspect` do all of the work. The other verbs are its parts: `submit` a job,
    `follow` it or `wait` for it, `fetch` its artifact.

    A request is repeated only if that is safe. `job`, `jobs`, `report` and `submit` are tried
    `attempts` times: the same request gives the same job. `follow`, `wait` and `fetch` go on for
    `patience_s` while the service cannot be reached, as when it is restarted. `cancel` asks
    whether the job still runs before each try. `remove` is sent once.

    >>> async with AsyncClient("http://127.0.0.1:8000") as client:  # doctest: +SKIP
    ...     report = await client.convert("model.pt", "model.channels_last_3d.pt")
    """

    async def convert(
        self,
        source: str | os.PathLike[str],
        target: str | os.PathLike[str],
        options: Options = _OPTIONS,
        *,
        progress: Progress | None = None,
    ) -> Report:
        """Have the service convert a checkpoint, and write the artifact, whole or not at all.

        If this is interrupted, the job is cancelled.

        Args:
            source: The checkpoint.
            target: The file to write, or the folder for it.
            options: What to convert, and how.
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
        advance, path = progress or silent, Path(source)
        place = Place(Path(target), path)
        with place.workplace() as folder:
            job = await self._done("convert", path, options, advance)
            return await self._requests.download(job, place, folder, advance)

    async def inspect(
        self,
        source: str | os.PathLike[str],
        options: Options = _OPTIONS,
        *,
        progress: Progress | None = None,
    ) -> Report:
        """Have the service report on a checkpoint, without converting it.

        If this is interrupted, the job is cancelled.

        Args:
            source: The checkpoint.
            options: What a conversion would be asked for; most of it makes no difference here.
            progress: Called as `progress(stage, done, total)`: `upload`, `queue`, the stages of the
                job.

        Raises:
            RemoteError: If the service refuses, with the code of its problem, or does not answer.
        """
        job = await self._done("inspect", Path(source), options, progress or silent)
        return await self.report(job.id)

    async def _done(
        self, verb: JobVerb, path: Path, options: Options, progress: Progress
    ) -> JobStatus:
        """Return a job that has succeeded; cancel it if this is interrupted.

        Raises:
            VerificationError: If the proof failed.
            RemoteError: If the job failed, or the service refuses or does not answer.
        """
        job = await self.submit(path, options, verb, progress=progress)
        try:
            job = job if job.is_finished else await self.wait(job.id, progress)
        except RemoteError:
            raise
        except BaseException:
            with anyio.move_on_after(_CANCEL_S, shield=True):
                await self._abandon(job.id)
            raise
        await self._requests.refuse_unless_succeeded(job)
        return job

    async def _abandon(self, job_id: str) -> None:
        """Try to cancel a job; the service may not answer."""
        try:
            await self.cancel(job_id)
        except RemoteError:
            return
