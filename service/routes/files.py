"""`GET /jobs/{id}/...`: the files of a job that has ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request, Response

from convlast.provenance.envelope import ENVELOPE, STATEMENT
from service.answers.kinds import REPORT_OFFERS, WRITTEN, written
from service.answers.results import (
    FILES,
    artifact_headers,
    files_in_zip,
    report_headers,
    zip_of,
)
from service.connection.streaming import PiecesResponse
from service.context import Caller, CallerOf, Context, ContextOf
from service.errors import (
    ConflictError,
    GoneError,
    NotFoundError,
    RangeNotSatisfiableError,
    ServiceError,
)
from service.headers.fields import as_list
from service.headers.negotiation import HTML, MARKDOWN, OCTET_STREAM, SARIF, XML, ZIP, negotiate
from service.headers.ranges import parse_range
from service.jobs.description import fields_of
from service.jobs.entry import JobEntry
from service.jobs.records import ARTIFACT
from service.jobs.retention import CANCELLED
from service.problems import Problem, ProblemError
from service.routes import JobId, readable
from service.routes.contents import (
    ABOUT_JOB,
    ARTIFACT_CONTENT,
    PROVENANCE_CONTENT,
    REPORT_CONTENT,
    ZIP_CONTENT,
)
from service.routes.openapi import problems
from service.storage.slices import Slice
from service.threads import STORING

router = APIRouter(prefix="/jobs/{job_id}", tags=["jobs"], default_response_class=Response)
CODES = (
    *("unauthorized", "not-found", "gone", "conflict"),
    *("too-many-requests", "queue-full", "not-ready"),
)
"""The problems of every request for files of a job."""


def _written_as(media_type: str) -> dict[int | str, dict[str, Any]]:
    """Return what is documented of a report that is written when it is asked for."""
    return {
        200: {
            "description": "The report.",
            "content": {media_type: REPORT_CONTENT[media_type]},
            "headers": ABOUT_JOB,
        },
        **problems(*CODES, "not-acceptable"),
    }


@readable(
    router,
    "/artifact",
    summary="The artifact of a job",
    responses={
        200: {"description": "The artifact.", "content": ARTIFACT_CONTENT, "headers": ABOUT_JOB},
        206: {"description": "The range.", "content": ARTIFACT_CONTENT, "headers": ABOUT_JOB},
        304: {"description": "It is the one that the client has.", "headers": ABOUT_JOB},
        **problems(*CODES, "range-not-satisfiable"),
    },
)
async def artifact(
    job_id: JobId, request: Request, context: ContextOf, caller: CallerOf
) -> Response:
    """Download the artifact; `Range`, `If-Range` and `If-None-Match` are understood."""
    entry = await entry_with(context, job_id, caller, OCTET_STREAM)
    kept = entry.made[ARTIFACT]
    headers = {**artifact_headers(kept), **fields_of(entry)}
    if matches(as_list(request.headers, "if-none-match"), headers["ETag"]):
        return Response(status_code=304, headers={"ETag": headers["ETag"], **fields_of(entry)})
    # Ranges are defined for GET alone (RFC 9110, section 14.2).
    wanted = request.headers.get("range") if request.method == "GET" else None
    if request.headers.get("if-range", headers["ETag"]) != headers["ETag"]:
        wanted = None
    try:
        part = parse_range(wanted, kept.bytes)
    except RangeNotSatisfiableError as error:
        length = {"Content-Range": f"bytes */{kept.bytes}"}
        raise _about(entry, error, **length) from None
    [file] = await STORING.run(entry.open, [ARTIFACT])
    status_code = 200
    if part is not None:
        file, status_code = file.part(*part), 206
        last = part[0] + part[1] - 1
        headers["Content-Range"] = f"bytes {part[0]}-{last}/{kept.bytes}"
    delivery = context.delivery(context.download_admission.take(caller.share))
    return PiecesResponse([file], status_code=status_code, headers=headers, delivery=delivery)


@readable(
    router,
    "/archive",
    summary="The artifact, the reports and the statement of a job as a zip",
    responses={
        200: {"description": "The zip.", "content": ZIP_CONTENT, "headers": ABOUT_JOB},
        **problems(*CODES),
    },
)
async def archive(job_id: JobId, context: ContextOf, caller: CallerOf) -> Response:
    """Download the zip that a synchronous conversion answers."""
    entry = await entry_with(context, job_id, caller, ZIP)
    files = await STORING.run(entry.open, files_in_zip(entry))
    pieces, headers = zip_of(entry, files)
    return _sent(pieces, {**headers, **fields_of(entry)}, context, caller)


@readable(
    router,
    "/report",
    summary="The report of a job",
    responses={
        200: {"description": "The report.", "content": REPORT_CONTENT, "headers": ABOUT_JOB},
        **problems(*CODES, "not-acceptable"),
    },
)
async def report(job_id: JobId, request: Request, context: ContextOf, caller: CallerOf) -> Response:
    """Read the report, as JSON, as a page, as Markdown, as JUnit or as SARIF."""
    media_type = negotiate(as_list(request.headers, "accept"), REPORT_OFFERS)
    return await _send_report(context, job_id, caller, media_type)


@readable(
    router,
    "/report.html",
    summary="The report of a job as a page",
    responses={
        200: {"description": "The report.", "content": {HTML: {}}, "headers": ABOUT_JOB},
        **problems(*CODES),
    },
)
async def report_page(job_id: JobId, context: ContextOf, caller: CallerOf) -> Response:
    """Read the report as a page."""
    return await _send_report(context, job_id, caller, HTML)


@readable(
    router,
    "/report.md",
    summary="The report of a job as Markdown",
    responses=_written_as(MARKDOWN),
)
async def report_markdown(job_id: JobId, context: ContextOf, caller: CallerOf) -> Response:
    """Read a summary for a merge request or the page of a job, of at most 60 kB."""
    return await _send_report(context, job_id, caller, MARKDOWN)


@readable(
    router,
    "/report.xml",
    summary="The report of a job as JUnit XML",
    responses=_written_as(XML),
)
async def report_junit(job_id: JobId, context: ContextOf, caller: CallerOf) -> Response:
    """Read the report for a view of tests: a case for the verdict, each claim and each layer."""
    return await _send_report(context, job_id, caller, XML)


@readable(
    router,
    "/report.sarif",
    summary="The report of a job as SARIF",
    responses=_written_as(SARIF),
)
async def report_sarif(job_id: JobId, context: ContextOf, caller: CallerOf) -> Response:
    """Read the findings for a page of code scanning, as SARIF 2.1.0: at most 5,000."""
    return await _send_report(context, job_id, caller, SARIF)


async def _send_report(context: Context, job_id: str, caller: Caller, media_type: str) -> Response:
    entry = await entry_with(context, job_id, caller, media_type)
    headers = {**report_headers(media_type), **fields_of(entry)}
    admission = context.download_admission
    if media_type in WRITTEN:
        with admission.take(caller.share):
            body = await written(entry, media_type)
        # The work is done, so the answer is not refused.
        delivery = context.delivery(admission.hold(caller.share))
        return PiecesResponse([body], headers=headers, delivery=delivery)
    files = await STORING.run(entry.open, FILES[media_type])
    return _sent(files, headers, context, caller)


@readable(
    router,
    "/provenance",
    summary="The statement on the artifact of a job",
    responses={
        200: {
            "description": "The statement.",
            "content": PROVENANCE_CONTENT,
            "headers": ABOUT_JOB,
        },
        **problems(*CODES, "not-acceptable"),
    },
)
async def provenance(
    job_id: JobId, request: Request, context: ContextOf, caller: CallerOf
) -> Response:
    """Read what the artifact was made of, and by what: an in-toto statement with SLSA provenance.

    A service with a signing key also has it in a signed envelope, for those who accept only that,
    or prefer it.
    """
    entry = await entry_with(context, job_id, caller, STATEMENT)
    offers = [each for each in (STATEMENT, ENVELOPE) if FILES[each][0] in entry.made]
    media_type = negotiate(as_list(request.headers, "accept"), offers)
    files = await STORING.run(entry.open, FILES[media_type])
    headers = {"Content-Type": media_type, "Vary": "Accept", **fields_of(entry)}
    return _sent(files, headers, context, caller)


def _sent(
    pieces: Sequence[bytes | Slice], headers: Mapping[str, str], context: Context, caller: Caller
) -> PiecesResponse:
    """Return an answer that is sent when the caller's turn has come."""
    delivery = context.delivery(context.download_admission.take(caller.share))
    return PiecesResponse(pieces, headers=headers, delivery=delivery)


async def entry_with(context: Context, job_id: str, caller: Caller, media_type: str) -> JobEntry:
    """Return a job that has the files for this answer.

    Raises:
        NotFoundError: If there is no such job.
        ProblemError: If it has no such file.
        ConflictError: If it has not ended.
        GoneError: If it was cancelled or removed, or has expired.
    """
    entry = await context.jobs.find(job_id, caller.owner)
    if entry.outcome is None:
        raise ConflictError(
            f"The job is {entry.state}.", remedy=f"Ask GET /jobs/{job_id}?wait=30 for its end."
        )
    if entry.outcome.state == "cancelled":
        raise GoneError(CANCELLED)
    if not entry.is_kept or any(name not in entry.made for name in FILES[media_type]):
        absent = NotFoundError(
            f"The job has no such file: it has {entry.state}.",
            remedy=f"GET /jobs/{job_id} says why, and which files it has.",
        )
        raise _about(entry, absent)
    return entry


def _about(entry: JobEntry, error: ServiceError, **headers: str) -> ProblemError:
    """Return the refusal of a request about a job that has ended, with the fields of the job."""
    problem = Problem.of(error)
    return ProblemError(replace(problem, headers={**fields_of(entry), **headers}))


def matches(if_none_match: str | None, etag: str) -> bool:
    """Return whether a client has what an entity tag is for."""
    known = [each.strip().removeprefix("W/") for each in (if_none_match or "").split(",")]
    return etag in known or "*" in known
