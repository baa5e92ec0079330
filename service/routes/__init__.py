"""The paths of the service, by topic."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, TypeAlias, TypeVar

from fastapi import APIRouter, Depends, Path, Request

from service.context import CallerOf, ContextOf
from service.jobs.description import fields_of
from service.jobs.entry import JobEntry
from service.problems import ABOUT_KEY

JobId: TypeAlias = Annotated[str, Path(description="The id of a job.")]


async def _entry(job_id: JobId, request: Request, context: ContextOf, caller: CallerOf) -> JobEntry:
    """Return the job of a path; from now on each refusal has the fields of an answer about it.

    Raises:
        NotFoundError: If there is no such job.
        GoneError: If it was removed, or has expired.
    """
    entry = await context.jobs.find(job_id, caller.owner)
    request.scope[ABOUT_KEY] = partial(fields_of, entry)
    return entry


EntryOf: TypeAlias = Annotated[JobEntry, Depends(_entry)]
Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


def readable(router: APIRouter, path: str, **documented: Any) -> Callable[[Endpoint], Endpoint]:
    """Route GET and HEAD to an endpoint (RFC 9110, section 9.1), and document only GET.

    Args:
        router: The router to add to.
        path: The path.
        documented: Documentation for `APIRouter.get`.
    """

    def add(endpoint: Endpoint) -> Endpoint:
        # Added first, so that a refusal of another method names both.
        router.add_api_route(path, endpoint, methods=["GET", "HEAD"], include_in_schema=False)
        router.get(path, **documented)(endpoint)
        return endpoint

    return add
