"""The paths of the service, by topic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeAlias, TypeVar

from fastapi import APIRouter, Path

JobId: TypeAlias = Annotated[str, Path(description="The id of a job.")]
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
