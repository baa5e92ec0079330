"""`POST /convert` and `POST /inspect`, which receive a checkpoint."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request, Response

from service.answers.representations import OFFERS, answer, report_headers
from service.connection.streaming import PiecesResponse
from service.context import CallerOf, ContextOf
from service.headers.fields import as_list
from service.headers.negotiation import JSON, negotiate
from service.jobs import OPTION_NAMES, run_job
from service.routes.openapi import (
    CONVERT_CODES,
    CONVERT_CONTENT,
    HTML,
    JOB_HEADERS,
    REPORT_CONTENT,
    UPLOAD_CODES,
    problems,
    upload_body,
)
from service.threads import REMOVING
from service.workers import REPORT_HTML
from service.workers.results import open_made, open_report

router = APIRouter(tags=["checkpoints"], default_response_class=Response)


@router.post(
    "/convert",
    summary="Convert a checkpoint",
    responses={
        200: {
            "description": "The artifact, the report, or both.",
            "content": CONVERT_CONTENT,
            "headers": JOB_HEADERS,
        },
        **problems(*CONVERT_CODES),
    },
    openapi_extra=upload_body(OPTION_NAMES["convert"]),
)
async def convert(request: Request, context: ContextOf, caller: CallerOf) -> Response:
    """Convert the Conv3d weights of a checkpoint, prove the result, and report it.

    `Accept` chooses the answer: `application/zip` (the default) contains the artifact,
    `report.json` and `report.html`, and nothing is stored; `application/json` is the report, with
    links to files that are stored for a while; `application/octet-stream` is the artifact.
    """
    media_type = negotiate(as_list(request.headers, "accept"), OFFERS)
    ran = await run_job(request, context, caller, verb="convert")
    return await answer(media_type, ran, request, context)


@router.post(
    "/inspect",
    summary="Report on a checkpoint without converting it",
    responses={
        200: {
            "description": "The report.",
            "content": REPORT_CONTENT,
            "headers": JOB_HEADERS,
        },
        **problems(*UPLOAD_CODES),
    },
    openapi_extra=upload_body(OPTION_NAMES["inspect"]),
)
async def inspect(request: Request, context: ContextOf, caller: CallerOf) -> Response:
    """Report which layers of a checkpoint would be converted; needs no GPU and stores nothing."""
    media_type = negotiate(as_list(request.headers, "accept"), [JSON, HTML])
    ran = await run_job(request, context, caller, verb="inspect")
    try:
        if media_type == JSON:
            file = await asyncio.to_thread(open_report, ran.folder.path)
        else:
            file = await asyncio.to_thread(open_made, ran.folder.path, REPORT_HTML)
    except BaseException:
        await REMOVING.run(ran.folder.remove)
        raise
    return PiecesResponse(
        [file],
        headers={**report_headers(media_type), **ran.headers},
        delivery=context.delivery(context.download_admission.hold(caller.share)),
        release=ran.folder.remove,
    )
