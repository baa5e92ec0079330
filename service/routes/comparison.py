"""`GET /jobs/{id}/comparison`: what changed from the report of one job to that of another."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response

from convlast.errors import OptionError
from convlast.report.changes import Comparison, FieldChange, LayerChanges, Side
from convlast.report.comparing import compare
from convlast.report.reading import read
from convlast.report.rendering.comparison import page
from convlast.report.sections import SCHEMA_VERSION, ReportData
from convlast.version import __version__
from service.answers.results import report_headers
from service.context import CallerOf, ContextOf
from service.headers.fields import as_list
from service.headers.negotiation import HTML, JSON, negotiate
from service.jobs.entry import JobEntry
from service.routes import JobId, readable
from service.routes.contents import REF
from service.routes.files import CODES, require, send_made
from service.routes.openapi import problems, query_parameters
from service.threads import COMPARING
from service.workers import REPORT_JSON

MAX_REPORT_BYTES = 4 << 20
"""The most bytes of a report that is compared: some five thousand layers. Two such reports take
100 MiB of memory and two seconds, in which the event loop goes on."""

_EXAMPLE_SIDE = Side(
    schema_version=SCHEMA_VERSION,
    filename="model.pt",
    sha256="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    verdict="passed",
    convlast=__version__,
    torch="2.13.0",
    device="cuda:0",
    layers=48,
    files=0,
)
_EXAMPLE = Comparison(
    before=_EXAMPLE_SIDE,
    after=_EXAMPLE_SIDE.model_copy(update={"torch": "2.14.0"}),
    changed=True,
    verdict="same",
    same_input=True,
    environment=[FieldChange(field="torch", before="2.13.0", after="2.14.0")],
    layers=LayerChanges(unchanged=48),
)
_CONTENT: dict[str, Any] = {
    JSON: {
        "schema": {"$ref": REF.format(model="Comparison")},
        "example": _EXAMPLE.model_dump(mode="json"),
    },
    HTML: {"schema": {"type": "string"}},
}

router = APIRouter(prefix="/jobs/{job_id}", tags=["jobs"], default_response_class=Response)


@readable(
    router,
    "/comparison",
    summary="What changed from the report of a job to that of another",
    responses={
        200: {"description": "What changed.", "content": _CONTENT},
        **problems(*CODES, "not-acceptable", "invalid-option"),
    },
    openapi_extra=query_parameters("with"),
)
async def comparison(
    job_id: JobId, request: Request, context: ContextOf, caller: CallerOf
) -> Response:
    """Compare two jobs of the caller, of any verbs, as JSON or as a page.

    The report of `job_id` is `before`, that of `with` is `after`.
    """
    media_type = negotiate(as_list(request.headers, "accept"), [JSON, HTML])
    other_id = request.query_params.get("with")
    if not other_id:
        raise OptionError("with", "Name the other job.", remedy="Ask for ?with=ID, with its id.")
    before, after = [await context.jobs.find(each, caller.owner) for each in (job_id, other_id)]
    for each in (before, after):
        require(each, JSON)
    work = partial(COMPARING.run, _compared, before, after, media_type)
    return await send_made(work, report_headers(media_type), context, caller)


def _compared(before: JobEntry, after: JobEntry, media_type: str) -> bytes:
    """Compare the reports of two jobs, and write the comparison.

    Raises:
        NotFoundError: If a report has been removed meanwhile.
        OptionError: If a report is too large, or is not one: a worker may write anything.
    """
    found = compare(_read(before, "job_id"), _read(after, "with"))
    text = found.model_dump_json() if media_type == JSON else page.render(found)
    return text.encode()


def _read(entry: JobEntry, option: str) -> ReportData:
    [file] = entry.open([REPORT_JSON])
    with closing(file):
        if file.size_bytes > MAX_REPORT_BYTES:
            raise OptionError(
                option,
                f"The report of the job in {option} is too large to be compared: "
                f"{file.size_bytes:,} bytes, of at most {MAX_REPORT_BYTES:,}.",
            )
        return read(file.read(), option=option, name=f"The report of the job in {option}")
