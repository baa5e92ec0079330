"""The requests about the jobs of a service, and what their answers mean."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from pathlib import Path

from convlast.client import answers
from convlast.client.connection import Ask, Connection
from convlast.client.download import Download, Received
from convlast.client.patience import Patience
from convlast.client.refusals import RefusedError, error_of
from convlast.client.result import Place
from convlast.errors import OptionError, RemoteError, VerificationError
from convlast.jobs import JobState, JobStatus
from convlast.progress import Progress
from convlast.provenance.envelope import ENVELOPE, STATEMENT
from convlast.report import Report


class JobRequests:
    """The requests about the jobs of a service."""

    def __init__(self, connection: Connection, attempts: int, patience_s: float) -> None:
        self._connection = connection
        self._attempts, self._patience_s = attempts, patience_s

    async def get(self, job_id: str, *, is_patient: bool) -> JobStatus:
        """Return the status of a job.

        Args:
            job_id: The job.
            is_patient: Whether to ask for as long as the patience lasts, not a number of times.

        Raises:
            RemoteError: If there is no such job, or the service does not answer.
        """
        ask = Ask("GET", path_of(job_id))
        return await self._connection.repeated(ask, answers.read_job, self._bound(is_patient))

    async def report(self, job_id: str, *, is_patient: bool) -> Report:
        """Return the report of a job.

        Raises:
            RemoteError: If the job has none, or the service does not answer.
        """
        ask = Ask("GET", f"{path_of(job_id)}/report", headers={"Accept": answers.JSON})
        return await self._connection.repeated(ask, answers.read_report, self._bound(is_patient))

    async def provenance(self, job_id: str) -> bytes:
        """Return the statement of a job, in its envelope if the service has signed it.

        Raises:
            RemoteError: If the job has none, the service does not answer, or its answer is no
                statement.
        """
        headers = {"Accept": f"{ENVELOPE}, {STATEMENT};q=0.5"}
        ask = Ask("GET", f"{path_of(job_id)}/provenance", headers=headers)
        bound = self._bound(is_patient=True)
        return await self._connection.repeated(ask, answers.read_provenance, bound)

    async def listed(self, state: JobState | None) -> AsyncGenerator[JobStatus]:
        """Yield the caller's jobs, newest first.

        Raises:
            RemoteError: If the service refuses, or does not answer.
        """
        chosen: dict[str, str] = {"state": state} if state else {}
        following: dict[str, str] | None = chosen
        seen: list[dict[str, str]] = []
        # A page may be empty and lead on, but one that leads back would never end.
        while following is not None and following not in seen:
            seen.append(following)
            ask = Ask("GET", "jobs", params=following)
            bound = self._bound(is_patient=False)
            page = await self._connection.repeated(ask, answers.read_jobs, bound)
            for job in page.jobs:
                yield job
            following = None if page.after is None else {**page.after, **chosen}

    async def cancel(self, job_id: str) -> JobStatus:
        """Stop a job that is queued or running, and return its status; leave a finished one.

        The first of two deletions cancels a job, the second removes it. So each is sent only after
        the service has said that the job still runs.

        Raises:
            RemoteError: If there is no such job, or the service does not answer; `gone` if the job
                ended meanwhile and was removed.
        """
        bound = self._bound(is_patient=False)
        while not (job := await self.get(job_id, is_patient=False)).is_finished:
            try:
                stopped = await self._delete(job_id)
            except RefusedError as refused:
                await bound.endure(refused.refusal)
                continue
            if stopped is None:
                message = "The job ended before it could be cancelled, and its files were removed."
                raise RemoteError("gone", message)
            return stopped
        return job

    async def remove(self, job_id: str) -> None:
        """Remove a finished job and its files; send this once.

        Raises:
            RemoteError: If there is no such job, it is not finished (`conflict`), or the service
                does not answer.
        """
        job = await self.get(job_id, is_patient=False)
        if not job.is_finished:
            raise RemoteError("conflict", f"The job is {job.state}.", remedy="Cancel it first.")
        try:
            await self._delete(job_id)
        except RefusedError as refused:
            raise refused.refusal.error from None

    async def download(
        self, job: JobStatus, place: Place, folder: Path, progress: Progress
    ) -> Report:
        """Download the artifact of a job, and move it to its place; return the report.

        Args:
            job: The job.
            place: Where the artifact goes.
            folder: Where it is written before that.
            progress: Called as `progress("download", done, total)`.

        Raises:
            OptionError: If the artifact cannot be put there.
            VerificationError: If the proof failed.
            RemoteError: If the job has no artifact, or it is damaged, or the service does not
                answer.
        """
        await self.refuse_unless_succeeded(job)
        report = await self.report(job.id, is_patient=True)
        if report.artifact is None:
            raise RemoteError("not-found", f"The job has no artifact: its verb is {job.verb}.")
        if job.target is not None:
            raise RemoteError("not-found", f"The artifact was delivered to {job.target}.")
        arrived = folder / "artifact"
        pieces = Download(self._connection, path_of(job.id), report.artifact, progress)
        with Received(arrived) as received:
            await pieces.write(received, self._bound(is_patient=True))
        return place.settle(arrived, job, report)

    async def refuse_unless_succeeded(self, job: JobStatus) -> None:
        """Raise the error of a job that has not succeeded.

        Raises:
            VerificationError: If the proof failed; the error has the report.
            RemoteError: If it failed otherwise; `gone` if it was cancelled, `conflict` if it is not
                finished.
        """
        if job.state == "failed":
            raise await self._failure_of(job)
        if job.state == "cancelled":
            raise RemoteError("gone", "The job was cancelled.", remedy="Submit it again.")
        if not job.is_finished:
            raise RemoteError("conflict", f"The job is {job.state}.", remedy="Wait for it.")

    async def _failure_of(self, job: JobStatus) -> Exception:
        error = error_of(job.problem or {})
        if error.code != VerificationError.code:
            return error
        try:
            report = await self.report(job.id, is_patient=True)
        except RemoteError:  # the reason is there, even if the report is gone
            return error
        return VerificationError(error.message, report=report)

    async def _delete(self, job_id: str) -> JobStatus | None:
        """Send a deletion once; return the job that it stopped, None if it removed one."""
        ask = Ask("DELETE", path_of(job_id), expected=frozenset({200, 204}))
        return await self._connection.once(ask, answers.read_stopped)

    def _bound(self, is_patient: bool) -> Patience:
        if is_patient:
            return Patience(limit_s=self._patience_s)
        return Patience(attempts=self._attempts)


def path_of(job_id: str) -> str:
    """Return the path of a job.

    Raises:
        OptionError: If it is not the id of a job.
    """
    if not re.fullmatch("[0-9a-f]{64}", job_id):
        raise OptionError("id", f"{job_id[:80]!r} is not the id of a job: 64 hexadecimal digits.")
    return f"jobs/{job_id}"
