"""`GET /jobs/{id}/...`: the stored files of a finished job."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request, Response

from service.answers.representations import artifact_headers, report_headers
from service.connection.streaming import PiecesResponse
from service.context import Caller, CallerOf, Context, ContextOf
from service.errors import RangeNotSatisfiableError
from service.headers.fields import as_list
from service.headers.negotiation import JSON, negotiate
from service.headers.ranges import parse_range
from service.problems import Problem, ProblemError
from service.routes import readable
from service.routes.openapi import ARTIFACT_CONTENT, HTML, REPORT_CONTENT, problems
from service.storage.slices import FileSlice
from service.storage.store import ARTIFACT
from service.workers import REPORT_HTML, REPORT_JSON

router = APIRouter(prefix="/jobs/{job_id}", tags=["jobs"], default_response_class=Response)
_CODES = ("unauthorized", "not-found", "too-many-requests", "queue-full", "not-ready")


@readable(
    router,
    "/artifact",
    summary="The artifact of a job",
    responses={
        200: {"description": "The artifact.", "content": ARTIFACT_CONTENT},
        206: {"description": "The range that was asked for.", "content": ARTIFACT_CONTENT},
        304: {"description": "It is the one that the client has."},
        **problems(*_CODES, "range-not-satisfiable"),
    },
)
async def artifact(job_id: str, request: Request, context: ContextOf, caller: CallerOf) -> Response:
    """Download the artifact; `Range`, `If-Range` and `If-None-Match` are understood."""
    stored, folder = context.workspace.store.find(job_id, caller.owner)
    headers = artifact_headers(stored)
    if _matches(as_list(request.headers, "if-none-match"), headers["ETag"]):
        return Response(status_code=304, headers={"ETag": headers["ETag"]})
    # Ranges are defined for GET alone (RFC 9110, section 14.2).
    wanted = request.headers.get("range") if request.method == "GET" else None
    if request.headers.get("if-range", headers["ETag"]) != headers["ETag"]:
        wanted = None
    try:
        part = parse_range(wanted, stored.artifact_bytes)
    except RangeNotSatisfiableError as error:
        problem = Problem.of(error)
        length = {"Content-Range": f"bytes */{stored.artifact_bytes}"}
        raise ProblemError(Problem(problem.code, problem.detail, headers=length)) from None
    file = await asyncio.to_thread(FileSlice.whole, folder, ARTIFACT)
    status_code = 200
    if part is not None:
        file, status_code = file.part(*part), 206
        last = part[0] + part[1] - 1
        headers["Content-Range"] = f"bytes {part[0]}-{last}/{stored.artifact_bytes}"
    delivery = context.delivery(context.download_admission.take(caller.share))
    return PiecesResponse([file], status_code=status_code, headers=headers, delivery=delivery)


@readable(
    router,
    "/report",
    summary="The report of a job",
    responses={
        200: {"description": "The report.", "content": REPORT_CONTENT},
        **problems(*_CODES, "not-acceptable"),
    },
)
async def report(job_id: str, request: Request, context: ContextOf, caller: CallerOf) -> Response:
    """Read the report, as JSON or as a page."""
    media_type = negotiate(as_list(request.headers, "accept"), [JSON, HTML])
    return await _send_report(context, job_id, caller, media_type)


@readable(
    router,
    "/report.html",
    summary="The report of a job as a page",
    responses={200: {"description": "The report.", "content": {HTML: {}}}, **problems(*_CODES)},
)
async def report_page(job_id: str, context: ContextOf, caller: CallerOf) -> Response:
    """Read the report as a page."""
    return await _send_report(context, job_id, caller, HTML)


async def _send_report(context: Context, job_id: str, caller: Caller, media_type: str) -> Response:
    _, folder = context.workspace.store.find(job_id, caller.owner)
    name = REPORT_JSON if media_type == JSON else REPORT_HTML
    file = await asyncio.to_thread(FileSlice.whole, folder, name)
    delivery = context.delivery(context.download_admission.take(caller.share))
    return PiecesResponse([file], headers=report_headers(media_type), delivery=delivery)


def _matches(if_none_match: str | None, etag: str) -> bool:
    known = [each.strip().removeprefix("W/") for each in (if_none_match or "").split(",")]
    return etag in known or "*" in known
