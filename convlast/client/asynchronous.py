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
from convlast.stores.address import is_address

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
        overwrite: bool = True,
        progress: Progress | None = None,
    ) -> Report:
        """Have the service convert a checkpoint, and write the artifact, whole or not at all.

        If this is interrupted, the job is cancelled.

        Args:
            source: The checkpoint; or its address, from which the service fetches it.
            target: The file to write, or the folder for it. If the source is an address, it may be
                that of a folder, to which the service delivers the artifact with its reports; what
                has their names there is replaced.
            options: What to convert, and how.
            overwrite: Whether a file of this machine that is there may be replaced.
            progress: Called as `progress(stage, done, total)`: `upload`, `queue`, the stages of the
                job, which may begin with `download` and end with `deliver`, and `download`.

        Returns:
            The service's report.

        Raises:
            OptionError: If the artifact would replace the checkpoint, or cannot be written there;
                or if a file of this machine is to be delivered to a store.
            StorageFullError: If there is no room for the artifact.
            VerificationError: If the proof failed; the error has the report.
            RemoteError: If the service refuses, with the code of its problem, or does not answer.
        """
        advance, named, there = progress or silent, os.fsdecode(source), os.fsdecode(target)
        if is_address(there):
            job = await self._done("convert", named, options, advance, there)
            return await self._requests.report(job.id, is_patient=True)
        here = None if is_address(named) else Path(named)
        place = Place(Path(there), here, overwrite=overwrite)
        with place.workplace() as folder:
            job = await self._done("convert", named, options, advance)
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
            source: The checkpoint, or its address.
            options: What a conversion would be asked for; most of it makes no difference here.
            progress: Called as `progress(stage, done, total)`: `upload`, `queue`, the stages of the
                job, which may begin with `download`.

        Raises:
            RemoteError: If the service refuses, with the code of its problem, or does not answer.
        """
        job = await self._done("inspect", os.fsdecode(source), options, progress or silent)
        return await self.report(job.id)

    async def _done(
        self,
        verb: JobVerb,
        source: str,
        options: Options,
        progress: Progress,
        target: str | None = None,
    ) -> JobStatus:
        """Return a job that has succeeded; cancel it if this is interrupted.

        Raises:
            VerificationError: If the proof failed.
            RemoteError: If the job failed, or the service refuses or does not answer.
        """
        job = await self.submit(source, options, verb, target=target, progress=progress)
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
