"""`GET /jobs/{id}/...`: the files of a job that has ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response

from convlast.provenance.envelope import ENVELOPE, STATEMENT
from service.answers.kinds import FILES, REPORT_OFFERS, WRITTEN, choose, written
from service.answers.results import artifact_headers, files_in_zip, report_headers, zip_of
from service.connection.streaming import PiecesResponse
from service.context import Caller, CallerOf, Context, ContextOf
from service.errors import ConflictError, GoneError, NotFoundError, RangeNotSatisfiableError
from service.headers.fields import as_list
from service.headers.negotiation import (
    HTML,
    JSON,
    MARKDOWN,
    OCTET_STREAM,
    SARIF,
    XML,
    ZIP,
    negotiate,
)
from service.headers.ranges import parse_range
from service.jobs.description import fields_of
from service.jobs.entry import JobEntry
from service.jobs.records import ARTIFACT
from service.jobs.retention import CANCELLED
from service.problems import Problem, ProblemError
from service.routes import EntryOf, readable
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
    entry: EntryOf, request: Request, context: ContextOf, caller: CallerOf
) -> Response:
    """Download the artifact; `Range`, `If-Range` and `If-None-Match` are understood."""
    require(entry, OCTET_STREAM)
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
        raise ProblemError(replace(Problem.of(error), headers=length)) from None
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
async def archive(entry: EntryOf, context: ContextOf, caller: CallerOf) -> Response:
    """Download the zip that a synchronous conversion answers."""
    require(entry, ZIP)
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
async def report(
    entry: EntryOf, request: Request, context: ContextOf, caller: CallerOf
) -> Response:
    """Read the report, as JSON, as a page, as Markdown, as JUnit or as SARIF."""
    require(entry, JSON)
    media_type = choose(as_list(request.headers, "accept"), REPORT_OFFERS, entry)
    return await _send_report(entry, context, caller, media_type)


@readable(
    router,
    "/report.html",
    summary="The report of a job as a page",
    responses={
        200: {"description": "The report.", "content": {HTML: {}}, "headers": ABOUT_JOB},
        **problems(*CODES),
    },
)
async def report_page(entry: EntryOf, context: ContextOf, caller: CallerOf) -> Response:
    """Read the report as a page."""
    return await _send_report(entry, context, caller, HTML)


@readable(
    router,
    "/report.md",
    summary="The report of a job as Markdown",
    responses=_written_as(MARKDOWN),
)
async def report_markdown(entry: EntryOf, context: ContextOf, caller: CallerOf) -> Response:
    """Read a summary for a merge request or the page of a job, of at most 60 kB."""
    return await _send_report(entry, context, caller, MARKDOWN)


@readable(
    router,
    "/report.xml",
    summary="The report of a job as JUnit XML",
    responses=_written_as(XML),
)
async def report_junit(entry: EntryOf, context: ContextOf, caller: CallerOf) -> Response:
    """Read the report for a view of tests: a case for the verdict, each claim and each layer."""
    return await _send_report(entry, context, caller, XML)


@readable(
    router,
    "/report.sarif",
    summary="The report of a job as SARIF",
    responses=_written_as(SARIF),
)
async def report_sarif(entry: EntryOf, context: ContextOf, caller: CallerOf) -> Response:
    """Read the findings for a page of code scanning, as SARIF 2.1.0: at most 5,000."""
    return await _send_report(entry, context, caller, SARIF)


async def _send_report(
    entry: JobEntry, context: Context, caller: Caller, media_type: str
) -> Response:
    require(entry, media_type)
    headers = {**report_headers(media_type), **fields_of(entry)}
    if media_type in WRITTEN:
        work = partial(written, entry, media_type)
        return await send_made(work, headers, context, caller)
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
    entry: EntryOf, request: Request, context: ContextOf, caller: CallerOf
) -> Response:
    """Read what the artifact was made of, and by what: an in-toto statement with SLSA provenance.

    A service with a signing key also has it in a signed envelope, for those who accept only that,
    or prefer it.
    """
    require(entry, STATEMENT)
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


async def send_made(
    work: Callable[[], Awaitable[bytes]],
    headers: Mapping[str, str],
    context: Context,
    caller: Caller,
) -> PiecesResponse:
    """Make the body of an answer when the caller's turn has come, and return the answer."""
    with context.download_admission.take(caller.share):
        body = await work()
    # The work is done, so the answer is not refused.
    delivery = context.delivery(context.download_admission.hold(caller.share))
    return PiecesResponse([body], headers=headers, delivery=delivery)


def require(entry: JobEntry, media_type: str) -> None:
    """Insist that a job has the files for this answer.

    Raises:
        NotFoundError: If it has no such file.
        ConflictError: If it has not ended.
        GoneError: If it was cancelled.
    """
    if entry.outcome is None:
        raise ConflictError(
            f"The job is {entry.state}.", remedy=f"Ask GET /jobs/{entry.id}?wait=30 for its end."
        )
    if entry.outcome.state == "cancelled":
        raise GoneError(CANCELLED)
    if not entry.is_kept or any(name not in entry.made for name in FILES[media_type]):
        raise NotFoundError(
            f"The job has no such file: it has {entry.state}.",
            remedy=f"GET /jobs/{entry.id} says why, and which files it has.",
        )


def matches(if_none_match: str | None, etag: str) -> bool:
    """Return whether a client has what an entity tag is for."""
    known = [each.strip().removeprefix("W/") for each in (if_none_match or "").split(",")]
    return etag in known or "*" in known
