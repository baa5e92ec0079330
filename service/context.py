"""What a request needs: the parts of the service, put together once."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Annotated, TypeAlias

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from service.access.admission import Admission
from service.access.keyfile import ANONYMOUS
from service.access.keyring import Keyring, share_of
from service.connection.protection import refuse_pages
from service.connection.streaming import Delivery
from service.settings import Settings
from service.storage.workspace import Workspace
from service.telemetry.metrics import Metrics
from service.workers import Workers


@dataclass(frozen=True)
class Context:
    """The parts of the service.

    Attributes:
        job_admission: Bounds the requests that upload, wait or run.
        download_admission: Bounds the answers with an artifact that are being sent.
        converters: The workers on the device.
        inspectors: The workers that need none, so that an inspection never waits for a conversion.
    """

    settings: Settings
    keyring: Keyring
    workspace: Workspace
    job_admission: Admission
    download_admission: Admission
    metrics: Metrics
    converters: Workers
    inspectors: Workers

    def delivery(self, place: AbstractContextManager[None]) -> Delivery:
        """Say how long an answer with an artifact may take; meanwhile it holds `place`."""
        return Delivery(
            place=place,
            idle_s=self.settings.client_idle_s,
            whole_s=self.settings.download_timeout_s,
        )


@dataclass(frozen=True)
class Caller:
    """Who sent a request.

    Attributes:
        owner: Whose its job is.
        share: Whose share of the service it uses up.
    """

    owner: str
    share: str


def context_of(request: Request) -> Context:
    """Give the parts that the application of a request was made of."""
    context: Context = request.app.state.context
    return context


async def _context(request: Request) -> Context:
    return context_of(request)


# It is here for the documentation; the check itself has to tell a bad scheme from a missing key.
_bearer = HTTPBearer(auto_error=False, description="A key of `CONVLAST_API_KEYS_FILE`.")


async def _caller(
    request: Request, _: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]
) -> Caller:
    context = context_of(request)
    owner = context.keyring.owner(request.headers.get("authorization"))
    if owner == ANONYMOUS:
        settings = context.settings
        refuse_pages(request.headers, hosts=settings.trusted_hosts, origins=settings.cors_origins)
    return Caller(owner, share_of(owner, request.client.host if request.client else None))


ContextOf: TypeAlias = Annotated[Context, Depends(_context)]
CallerOf: TypeAlias = Annotated[Caller, Depends(_caller)]
