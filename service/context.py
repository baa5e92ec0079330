"""What a request needs: the parts of the service, put together once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, TypeAlias

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from service.access import Keyring
from service.metrics import Metrics
from service.places import Places
from service.settings import Settings
from service.workers import Workers
from service.workspace import Workspace


@dataclass(frozen=True)
class Context:
    """The parts of the service.

    Attributes:
        converters: The workers on the device.
        inspectors: The workers that need none, so that an inspection never waits for a conversion.
    """

    settings: Settings
    keyring: Keyring
    workspace: Workspace
    places: Places
    metrics: Metrics
    converters: Workers
    inspectors: Workers


def context_of(request: Request) -> Context:
    """Give the parts that the application of a request was made of."""
    context: Context = request.app.state.context
    return context


async def _context(request: Request) -> Context:
    return context_of(request)


# It is here for the documentation; the check itself has to tell a bad scheme from a missing key.
_bearer = HTTPBearer(auto_error=False, description="A key of `CONVLAST_API_KEYS_FILE`.")


async def _owner(
    request: Request, _: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]
) -> str:
    return context_of(request).keyring.owner(request.headers.get("authorization"))


ContextOf: TypeAlias = Annotated[Context, Depends(_context)]
Owner: TypeAlias = Annotated[str, Depends(_owner)]
