"""Runs the job of one request: from its headers to the files that the worker has written."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass
from typing import Literal

import structlog
from starlette.requests import ClientDisconnect, Request

from convlast.errors import OptionError
from convlast.options import Options, asked
from convlast.options.keywords import INSPECTED
from convlast.progress import Progress
from service.connection.streaming import until_disconnected
from service.context import Caller, Context
from service.errors import WorkerCrashedError, full_disk_as_problem
from service.headers.filenames import sanitise
from service.problems import JOB_FIELD, JOB_KEY, VERDICT_FIELD
from service.storage.workspace import JobFolder
from service.threads import REMOVING
from service.uploads.receiving import Upload, receive
from service.uploads.upload_headers import RAW, check_headers
from service.workers import Finished, Job, JobFiles

_FILENAME = "filename"
_UNPACKING = "files"
"""The stage whose total is the size of an archive's contents in bytes."""

OPTION_NAMES = {
    "convert": list(Options.model_fields),
    "inspect": list(INSPECTED),
}
"""The options that each verb takes."""

_log = structlog.get_logger()


@dataclass(frozen=True)
class Ran:
    """A job that is done.

    Attributes:
        id: Its identifier.
        caller: The client that sent it.
        folder: The folder of its files; the code that answers must move or remove it.
        finished: The result that the worker reported.
        seconds: Wall time of each stage, in order.
    """

    id: str
    caller: Caller
    folder: JobFolder
    finished: Finished
    seconds: dict[str, float]

    @property
    def headers(self) -> dict[str, str]:
        """The fields of every answer about the job."""
        return {
            JOB_FIELD: self.id,
            VERDICT_FIELD: self.finished.verdict,
            "Server-Timing": server_timing(self.seconds),
        }


async def run_job(
    request: Request,
    context: Context,
    caller: Caller,
    *,
    verb: Literal["convert", "inspect"],
) -> Ran:
    """Receive the checkpoint of a request, and run its job.

    If this raises, no file is left on disk. If the client disconnects, the job is stopped. A job is
    given to a worker only after its upload is complete, so a slow client never occupies a worker.

    Raises:
        ConvlastError: If the request is refused, or the job ends without an answer.
        ProblemError: If the worker refuses the checkpoint.
        ClientDisconnect: If the client disconnects.
    """
    names = OPTION_NAMES[verb]
    query = _check_query(request, names)
    check_headers(request.headers, context)
    # Otherwise a client that never reads its answers would fill the disk with them.
    context.download_admission.check(caller.share)
    job_id = secrets.token_hex(16)
    with (
        context.job_admission.take(caller.share),
        full_disk_as_problem(),
        structlog.contextvars.bound_contextvars(job_id=job_id),
    ):
        request.scope[JOB_KEY] = job_id
        folder = await asyncio.to_thread(context.workspace.new_job, job_id)
        try:
            began_s = time.perf_counter()
            upload = await receive(request, folder, names, context.settings)
            uploaded_s = time.perf_counter() - began_s
            settings = context.settings
            job = Job(
                id=job_id,
                request_id=structlog.contextvars.get_contextvars().get("request_id"),
                verb=verb,
                filename=_filename(request, upload),
                sha256=upload.sha256,
                options=Options.parse(**_collect([*query, *upload.fields])),
                limits=settings.limits,
                allow_programs=settings.allow_programs,
                architecture_prefixes=settings.architecture_prefixes,
            )
            workers = context.converters if verb == "convert" else context.inspectors
            follow = _following(folder, settings.max_unpacked_bytes)
            files = JobFiles(source=upload.path, folder=folder.path)
            work = workers.run(job, files, follow, share=caller.share)
            finished = await _while_connected(request, work)
            await asyncio.to_thread(_drop, folder, upload)
        except BaseException:
            await REMOVING.run(folder.remove)
            raise
        seconds = {"upload": uploaded_s, **finished.seconds}
        stages_s = {stage: round(stage_s, 4) for stage, stage_s in seconds.items()}
        _log.info("job done", verb=verb, verdict=finished.verdict, stages_s=stages_s)
    ran = Ran(job_id, caller, folder, finished, seconds)
    _measure(context, ran)
    return ran


async def _while_connected(request: Request, work: Coroutine[None, None, Finished]) -> Finished:
    """Wait for the work, and stop it if the client disconnects.

    Raises:
        ClientDisconnect: If the client disconnects.
    """
    working = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(until_disconnected(request.receive))
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        gone.cancel()
        working.cancel()
        await asyncio.gather(working, gone, return_exceptions=True)


def _check_query(request: Request, names: list[str]) -> list[tuple[str, str]]:
    """Return the options in the query, and refuse bad ones before the body is read."""
    pairs = [pair for pair in request.query_params.multi_items() if pair[0] != _FILENAME]
    for name, _ in pairs:
        if name not in names:
            raise asked.unknown(name, [_FILENAME, *names])
    # A form may have further options in its fields; a raw body has none.
    if request.headers.get("content-type", "").lower().startswith(RAW):
        Options.parse(**_collect(pairs))
    return pairs


def _collect(pairs: Iterable[tuple[str, str]]) -> dict[str, object]:
    """Collect the values of each option; an empty value, as forms send it, counts as not given."""
    values: dict[str, object] = {}
    for name, value in pairs:
        if not value.strip():
            continue
        if name == "select":
            patterns = [part.strip() for part in value.split(",")]
            values.setdefault(name, []).extend(patterns)  # type: ignore[attr-defined]  # a list
        elif values.get(name, value) != value:
            raise OptionError(name, f"Option {name} is given twice, with different values.")
        else:
            values[name] = value
    return values


def _filename(request: Request, upload: Upload) -> str:
    given = request.query_params.get(_FILENAME)
    return sanitise(given) if given else upload.filename or sanitise("")


def _drop(folder: JobFolder, upload: Upload) -> None:
    """Free the checkpoint's bytes before the answer is sent."""
    # If it cannot be removed now, it is removed with the folder.
    with contextlib.suppress(OSError):
        folder.drop(upload.path)


def _following(folder: JobFolder, max_unpacked_bytes: int) -> Progress:
    """Return a progress callback that counts the contents of an archive against the quota."""

    def follow(stage: str, done: int, total: int) -> None:
        _log.debug("stage", stage=stage, done=done, total=total)
        if stage != _UNPACKING:
            return
        if total > max_unpacked_bytes:
            raise WorkerCrashedError.nonsense()
        folder.take_unpacked(total)

    return follow


def _measure(context: Context, ran: Ran) -> None:
    for stage, stage_s in ran.seconds.items():
        context.metrics.stage_s.labels(stage).observe(stage_s)
    context.job_admission.ran(ran.seconds["convert"])


def server_timing(seconds: dict[str, float]) -> str:
    """Write wall times as the field `Server-Timing`.

    >>> server_timing({"upload": 0.0125, "queue": 0.0})
    'upload;dur=12.5, queue;dur=0.0'
    """
    return ", ".join(f"{stage};dur={stage_s * 1000:.1f}" for stage, stage_s in seconds.items())
