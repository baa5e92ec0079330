"""One request for a job: from its headers to the end of its job, or as long as it waits."""

from __future__ import annotations

import asyncio
import time
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from functools import partial

import structlog
from starlette.requests import Request

from convlast.jobs import JobVerb
from service.connection.streaming import while_connected
from service.context import Caller, Context
from service.errors import NotReadyError, full_disk_as_problem
from service.headers.preferences import Preference
from service.jobs.description import fields_of
from service.jobs.entry import JobEntry
from service.jobs.submission import Submission
from service.problems import ABOUT_KEY, JOB_KEY, Problem, ProblemError
from service.threads import REMOVING
from service.uploads.sources import OPTION_NAMES, check_query, receive_source
from service.uploads.upload_headers import check_headers


@dataclass(frozen=True)
class Wanted:
    """What a request asks for.

    Attributes:
        verb: The verb.
        preference: How long to wait for the end.
        is_kept: Whether the result is stored also if it is answered at once.
    """

    verb: JobVerb
    preference: Preference
    is_kept: bool


@dataclass(frozen=True)
class Requested:
    """A request and its job, which has succeeded or goes on.

    Attributes:
        entry: The job.
        caller: The client.
        preference: How long it has waited.
        upload_s: Wall time of its upload.
    """

    entry: JobEntry
    caller: Caller
    preference: Preference
    upload_s: float

    @property
    def headers(self) -> dict[str, str]:
        """The fields of an answer with the result."""
        seconds = self.entry.outcome.seconds if self.entry.outcome else {}
        timing = server_timing({**seconds, "upload": self.upload_s})
        return {**fields_of(self.entry), "Server-Timing": timing}


async def request_job(
    request: Request, context: Context, caller: Caller, wanted: Wanted
) -> Requested:
    """Receive the checkpoint of a request, submit its job, and wait as long as it wants to.

    A job is given to a worker only after its upload is complete, so a slow client never occupies a
    worker. If this raises, the request has left nothing behind, and a job that nobody else wants is
    stopped. If the job has ended, the answer must release it.

    Raises:
        ConvlastError: If the request is refused.
        ProblemError: If the job has failed.
        ClientDisconnect: If the client disconnects.
    """
    check_query(request, OPTION_NAMES[wanted.verb])
    check_headers(request.headers, context)
    # Otherwise a client that never reads its answers would fill the disk with them.
    context.download_admission.check(caller.share)
    place: AbstractContextManager[None] = nullcontext()
    if wanted.preference.is_asynchronous:
        place = context.pending_admission.take(caller.share)
    with context.job_admission.take(caller.share):
        with place, full_disk_as_problem():
            entry, upload_s = await _submit(request, context, caller, wanted)
        request.scope[JOB_KEY] = entry.id
        request.scope[ABOUT_KEY] = partial(fields_of, entry)
        await _wait(request, context, entry, wanted.preference)
    return Requested(entry, caller, wanted.preference, upload_s)


async def _submit(
    request: Request, context: Context, caller: Caller, wanted: Wanted
) -> tuple[JobEntry, float]:
    """Receive the checkpoint and submit its job; return this, and the wall time of the upload."""
    began_s = time.perf_counter()
    folder = await asyncio.to_thread(context.workspace.new_job)
    submission: Submission | None = None
    try:
        with ExitStack() as held:
            source = await receive_source(request, context, caller, wanted.verb, folder, held)
            upload_s = time.perf_counter() - began_s
            context.traces.was_uploaded(upload_s)
            current = context.traces.current(request.headers)
            submission = Submission(
                owner=caller.owner,
                share=caller.share,
                verb=wanted.verb,
                source=source,
                folder=folder,
                upload_s=upload_s,
                request_id=structlog.contextvars.get_contextvars().get("request_id"),
                traceparent=str(current) if current else None,
                is_durable=wanted.preference.is_asynchronous,
                is_kept=wanted.is_kept,
            )
            entry = await context.jobs.submit(submission)
            if entry.accepted.traceparent != submission.traceparent:
                context.traces.joins(entry.trace.parent)
            return entry, upload_s
    finally:
        if submission is None or not submission.is_taken:
            await REMOVING.run(folder.remove)


async def _wait(
    request: Request, context: Context, entry: JobEntry, preference: Preference
) -> None:
    """Wait for the end of a job, or as long as the client wants to.

    Raises:
        ProblemError: If the job has failed.
        ClientDisconnect: If the client disconnects.
        NotReadyError: If the service ends before the job, which goes on afterwards.
    """
    if preference.wait_s == 0:
        await context.jobs.leave(entry)
        return
    try:
        until_end = entry.until(lambda: entry.has_ended)
        await while_connected(request.receive, until_end, timeout_s=preference.wait_s)
        if entry.outcome is None and entry.is_suspended and not preference.is_asynchronous:
            raise NotReadyError("The service is draining: the job goes on when it is back.")
        if entry.outcome is not None and entry.outcome.problem is not None:
            raise ProblemError(entry.problem or Problem.read(entry.outcome.problem))
    except BaseException:
        await context.jobs.leave(entry)
        raise
    if entry.outcome is None:
        await context.jobs.leave(entry)


def server_timing(seconds: dict[str, float]) -> str:
    """Write wall times as the field `Server-Timing`.

    >>> server_timing({"upload": 0.0125, "queue": 0.0})
    'upload;dur=12.5, queue;dur=0.0'
    """
    return ", ".join(f"{stage};dur={stage_s * 1000:.1f}" for stage, stage_s in seconds.items())
