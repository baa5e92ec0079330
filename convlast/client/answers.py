"""The answers of the service, read and checked."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import httpx

from convlast.client.refusals import (
    MAX_REPORT_BYTES,
    media_type_of,
    not_the_service,
    read_whole,
    report_of,
)
from convlast.errors import RemoteError, StatementError
from convlast.jobs import JobStatus
from convlast.provenance import reading
from convlast.provenance.envelope import ENVELOPE, STATEMENT
from convlast.report import Report

T = TypeVar("T")
JSON = "application/json"


class Page(NamedTuple):
    """A page of the caller's jobs.

    Attributes:
        jobs: The jobs, newest first.
        after: The parameters that ask for the next page; None after the last one.
    """

    jobs: list[JobStatus]
    after: dict[str, str] | None


async def read_report(response: httpx.Response) -> Report:
    """Return the report that an answer is.

    Raises:
        RemoteError: If the answer is not the service's.
    """
    return report_of(await _json_of(response))


async def read_job(response: httpx.Response) -> JobStatus:
    """Return the job that an answer is.

    Raises:
        RemoteError: If the answer is not the service's.
    """
    return job_of(await _json_of(response))


async def read_stopped(response: httpx.Response) -> JobStatus | None:
    """Return the job that a deletion stopped; None if it removed a finished one.

    Raises:
        RemoteError: If the answer is not the service's.
    """
    return None if response.status_code == httpx.codes.NO_CONTENT else await read_job(response)


async def read_provenance(response: httpx.Response) -> bytes:
    """Return the statement that an answer is, or its envelope, as they are written.

    Raises:
        RemoteError: If the answer is not the service's, or no statement.
    """
    if media_type_of(response) not in {STATEMENT, ENVELOPE}:
        raise not_the_service(response, media_type_of(response)[:80] or "something unknown")
    content = await read_whole(response, reading.MAX_BYTES + 1)
    try:
        reading.parse(reading.read(content))
    except StatementError as error:
        raise not_the_service(response, "something that is no statement") from error
    return content


async def read_jobs(response: httpx.Response) -> Page:
    """Return the page of jobs that an answer is.

    Raises:
        RemoteError: If the answer is not the service's.
    """
    body = await _json_of(response)

    def read() -> Page:
        following = body["next"]
        # The parameters alone: a gateway may have put the service below another path.
        after = None if following is None else dict(httpx.URL(following).params)
        return Page([JobStatus.model_validate(each) for each in body["jobs"]], after)

    return _known(read)


def job_of(body: object) -> JobStatus:
    """Return the job in an answer, or in an event as text.

    Raises:
        RemoteError: If it is not one that this version knows.
    """
    if isinstance(body, str):
        return _known(lambda: JobStatus.model_validate_json(body))
    return _known(lambda: JobStatus.model_validate(body))


def _known(read: Callable[[], T]) -> T:
    try:
        return read()
    except (ValueError, TypeError, KeyError, AttributeError, httpx.InvalidURL) as error:
        raise RemoteError(
            "internal",
            "The service describes its jobs in another way than this client knows.",
            remedy="Use the same version of convlast for both.",
        ) from error


async def _json_of(response: httpx.Response) -> Any:
    if media_type_of(response) != JSON:
        raise not_the_service(response, media_type_of(response)[:80] or "something unknown")
    try:
        return json.loads(await read_whole(response, MAX_REPORT_BYTES))
    except (ValueError, RecursionError) as error:
        raise not_the_service(response, "damaged JSON") from error
