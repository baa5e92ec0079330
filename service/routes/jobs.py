"""`/jobs`: the jobs of a client, and `/jobs/{id}`: one of them, followed and cancelled."""

from __future__ import annotations

import json
import re
from typing import get_args
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response

from convlast.errors import OptionError
from convlast.jobs import JobState
from service.answers.statuses import EventStream, etag_of, status_of
from service.connection.streaming import while_connected
from service.context import CallerOf, ContextOf
from service.headers.fields import as_list
from service.headers.negotiation import JSON
from service.jobs.description import fields_of, json_of
from service.jobs.entry import JobEntry
from service.jobs.listing import Wanted
from service.routes import EntryOf, readable
from service.routes.contents import ABOUT_JOB, EVENTS, JOB, JOBS
from service.routes.files import matches
from service.routes.openapi import problems, query_parameters

MOST_WAIT_S = 60.0
"""The longest time that a request waits for a change."""

_PAGE, _LONGEST_PAGE = 50, 200
_CODES = ("unauthorized", "not-found", "gone", "too-many-requests", "queue-full", "not-ready")

router = APIRouter(prefix="/jobs", tags=["jobs"], default_response_class=Response)


@readable(
    router,
    "",
    summary="The jobs of the caller",
    responses={200: JOBS, **problems("unauthorized", "invalid-option")},
    openapi_extra=query_parameters("limit", "after", "state"),
)
async def list_jobs(request: Request, context: ContextOf, caller: CallerOf) -> Response:
    """List the caller's own jobs, the newest first, in pages.

    A page can have fewer jobs than its limit, or none, and still name a `next` one.
    """
    asked = request.query_params
    limit = int(_number(asked.get("limit"), "limit", _PAGE, most=_LONGEST_PAGE))
    state = _state(asked.get("state"))
    page = await context.jobs.page(Wanted(caller.owner, limit, asked.get("after", ""), state))
    base, following = request.scope.get("root_path", ""), None
    if page.end is not None:
        query = {"after": page.end, "limit": limit, **({"state": state} if state else {})}
        following = f"{base}/jobs?{urlencode(query)}"
    max_age_s = context.settings.store_age_s
    documents = [json_of(entry, base=base, max_age_s=max_age_s) for entry in page.entries]
    body = b'{"jobs": [%b], "next": %b}' % (b", ".join(documents), json.dumps(following).encode())
    return Response(body, media_type=JSON, headers={"Cache-Control": "no-cache"})


@readable(
    router,
    "/{job_id}",
    summary="A job",
    responses={
        200: JOB,
        304: {
            "description": "It has not changed since the client has read it.",
            "headers": ABOUT_JOB,
        },
        **problems(*_CODES, "invalid-option"),
    },
    openapi_extra=query_parameters("wait"),
)
async def job(entry: EntryOf, request: Request, context: ContextOf, caller: CallerOf) -> Response:
    """Read a job: at once, or with `wait` as soon as its state has changed or it has ended.

    With `If-None-Match` any change counts, such as progress.
    """
    wait_s = _number(request.query_params.get("wait"), "wait", 0)
    known = as_list(request.headers, "if-none-match")
    if wait_s and not entry.has_ended:
        with context.follower_admission.take(caller.share):
            await _wait(request, entry, known, min(wait_s, MOST_WAIT_S))
    if matches(known, etag_of(entry)):
        return Response(status_code=304, headers={"ETag": etag_of(entry), **fields_of(entry)})
    return status_of(entry, request, context)


async def _wait(request: Request, entry: JobEntry, known: str | None, wait_s: float) -> None:
    """Wait until a job has ended, or is not any more what the client knows of it."""
    state = entry.state

    def is_news() -> bool:
        is_other = entry.state != state if known is None else not matches(known, etag_of(entry))
        return entry.has_ended or is_other

    await while_connected(request.receive, entry.until(is_news), timeout_s=wait_s)


@readable(
    router,
    "/{job_id}/events",
    summary="The changes of a job",
    responses={
        200: EVENTS,
        204: {
            "description": "The client has got the last event: it need not come again.",
            "headers": ABOUT_JOB,
        },
        **problems(*_CODES),
    },
)
async def events(
    entry: EntryOf, request: Request, context: ContextOf, caller: CallerOf
) -> Response:
    """Follow a job by server-sent events: its latest state, and then each change.

    The id of an event is the sequence number of the job, and `Last-Event-ID` goes on from it.
    """
    last = request.headers.get("last-event-id", "")
    last_seq = int(last) if re.fullmatch("[0-9]{1,15}", last) else None
    if entry.has_ended and last_seq == entry.seq:
        return Response(status_code=204, headers=fields_of(entry))
    place = context.follower_admission.take(caller.share)
    return EventStream(entry, request, context, place=place, last_seq=last_seq)


@router.delete(
    "/{job_id}",
    summary="Cancel or remove a job",
    responses={
        200: {**JOB, "description": "It was waiting or running, and is stopped."},
        204: {"description": "It had ended, and is removed.", "headers": ABOUT_JOB},
        **problems("unauthorized", "not-found", "gone"),
    },
)
async def delete(entry: EntryOf, request: Request, context: ContextOf) -> Response:
    """Cancel a job that waits or runs: its process is gone then. Remove one that has ended."""
    if entry.outcome is None:
        state = await context.jobs.cancel(entry)
        if state == "cancelled":
            return status_of(entry, request, context)
    # It had ended, perhaps while it was being cancelled.
    await context.jobs.remove(entry)
    return Response(status_code=204, headers=fields_of(entry))


def _state(text: str | None) -> JobState | None:
    """Read a state in the query.

    Raises:
        OptionError: If there is no such state.
    """
    states: tuple[JobState, ...] = get_args(JobState)
    found = next((each for each in states if each == text), None)
    if text is not None and found is None:
        raise OptionError("state", f"There is no such state. Ask for one of {', '.join(states)}.")
    return found


def _number(text: str | None, name: str, default: float, *, most: float = 1e9) -> float:
    """Read a number in the query.

    Raises:
        OptionError: If it is none.
    """
    if text is None:
        return default
    is_number = re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text) is not None
    if not is_number or (name == "limit" and float(text) < 1):
        raise OptionError(name, f"{name} has a bad value.", remedy="It is a number, such as 30.")
    return min(float(text), most)
