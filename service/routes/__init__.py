"""The paths of the service, by what they are about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from fastapi import APIRouter

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


def readable(router: APIRouter, path: str, **documented: Any) -> Callable[[Endpoint], Endpoint]:
    """Answer GET, and HEAD alike (RFC 9110, section 9.1), which the documents do not repeat.

    Args:
        router: Where the path is.
        path: The path.
        documented: What the documents say of it, as `APIRouter.get` takes it.
    """

    def add(endpoint: Endpoint) -> Endpoint:
        # This one comes first, so that a refusal of another method names both of them.
        router.add_api_route(path, endpoint, methods=["GET", "HEAD"], include_in_schema=False)
        router.get(path, **documented)(endpoint)
        return endpoint

    return add
