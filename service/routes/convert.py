"""`POST /convert` and `POST /inspect`, which receive or name a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter, Request, Response

from convlast.jobs import JobVerb
from service.answers.kinds import OFFERS, REPORT_OFFERS
from service.answers.results import answer
from service.answers.statuses import status_of
from service.context import Caller, CallerOf, Context, ContextOf
from service.headers.fields import as_list
from service.headers.negotiation import ZIP, negotiate
from service.headers.preferences import Preference
from service.routes.contents import ACCEPTED, CONVERT_CONTENT, JOB_HEADERS, REPORT_CONTENT
from service.routes.openapi import CONVERT_CODES, UPLOAD_CODES, problems, upload_body
from service.uploads.requested import Requested, Wanted, request_job
from service.uploads.sources import OPTION_NAMES

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
        202: ACCEPTED,
        **problems(*CONVERT_CODES),
    },
    openapi_extra=upload_body(OPTION_NAMES["convert"], has_target=True),
)
async def convert(request: Request, context: ContextOf, caller: CallerOf) -> Response:
    """Convert the Conv3d weights of a checkpoint, prove the result, and report it.

    `Accept` chooses the answer: `application/zip` (the default) contains the artifact,
    `report.json`, `report.html` and `provenance.json`, a statement on what it was made of, and
    nothing is stored; `application/json` is the report, with links to files that are stored for a
    while; `application/octet-stream` is the artifact. The report is also to be had as a page
    (`text/html`), for a merge request (`text/markdown`), as JUnit (`application/xml`), and for code
    scanning (`application/sarif+json`).

    With a `target` the artifact goes there, and the answer is the report.

    `Prefer: respond-async` answers with the job as soon as the upload is complete, and
    `Prefer: wait=25` if it has not ended within 25 s. Such a job goes on whatever happens, and the
    same request always has the same job.
    """
    return await _answer("convert", OFFERS, request, context, caller)


@router.post(
    "/inspect",
    summary="Report on a checkpoint without converting it",
    responses={
        200: {
            "description": "The report.",
            "content": REPORT_CONTENT,
            "headers": JOB_HEADERS,
        },
        202: ACCEPTED,
        **problems(*UPLOAD_CODES),
    },
    openapi_extra=upload_body(OPTION_NAMES["inspect"], has_target=False),
)
async def inspect(request: Request, context: ContextOf, caller: CallerOf) -> Response:
    """Report which layers of a checkpoint would be converted; needs no GPU.

    Nothing is stored, unless `Prefer` asks for a job as in `/convert`.
    """
    return await _answer("inspect", REPORT_OFFERS, request, context, caller)


async def _answer(
    verb: JobVerb, offers: Sequence[str], request: Request, context: Context, caller: Caller
) -> Response:
    """Answer with the result of a job if it has ended in time, or else with the job."""
    # What can never be answered is refused before the upload.
    media_type = negotiate(as_list(request.headers, "accept"), offers)
    is_kept = verb == "convert" and media_type != ZIP
    wanted = Wanted(verb, Preference.of(request.headers), is_kept=is_kept)
    requested = await request_job(request, context, caller, wanted)
    is_result_wanted = wanted.preference.wait_s != 0
    if is_result_wanted and requested.entry.outcome is not None:
        return await answer(offers, requested, request, context)
    return _accepted(requested, request, context)


def _accepted(requested: Requested, request: Request, context: Context) -> Response:
    """Answer with a job that goes on."""
    entry = requested.entry
    return status_of(
        entry,
        request,
        context,
        status_code=202,
        **{
            "Location": f"{request.scope.get('root_path', '')}/jobs/{entry.id}",
            "Preference-Applied": requested.preference.applied,
        },
    )
