"""The parts of the service that requests use."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Annotated, TypeAlias

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from service.access.admission import Admission
from service.access.keyfile import ANONYMOUS
from service.access.keyring import Keyring, share_of
from service.connection.limit import ConnectionLimit
from service.connection.protection import refuse_pages
from service.connection.streaming import Delivery
from service.jobs.board import Jobs
from service.jobs.entry import JobEntry
from service.problems import OWNER_KEY
from service.settings import Settings
from service.storage.workspace import StorageState, Workspace
from service.telemetry.families import Sample
from service.telemetry.metrics import Metrics
from service.telemetry.readings import Reading
from service.telemetry.traces import Traces
from service.transfers import Transfers
from service.workers import Workers


@dataclass(frozen=True)
class Context:
    """The parts of the service, created once.

    Attributes:
        job_admission: Bounds the requests that upload, wait or run.
        pending_admission: Bounds the asynchronous jobs that wait or run.
        follower_admission: Bounds the requests that wait for news of a job.
        download_admission: Bounds the answers with an artifact that are being sent.
        jobs: All jobs.
        transfers: Fetches checkpoints from stores, and delivers results to them.
        traces: Records requests and jobs, if they are traced.
        converters: Workers that use the device.
        inspectors: Workers on the CPU, so that an inspection never waits for a conversion.
        connection_limit: Bounds the open connections.
        storage: Reads the state of the work folder.
        gpus: Reads the metrics of the GPUs.
    """

    settings: Settings
    keyring: Keyring
    workspace: Workspace
    job_admission: Admission
    pending_admission: Admission
    follower_admission: Admission
    download_admission: Admission
    jobs: Jobs
    transfers: Transfers
    metrics: Metrics
    traces: Traces
    converters: Workers
    inspectors: Workers
    connection_limit: ConnectionLimit
    storage: Reading[StorageState]
    gpus: Reading[list[Sample]]

    def estimated_s(self, entry: JobEntry) -> int:
        """Return in how many seconds a job will probably have ended, for `Retry-After`."""
        workers = self.converters if entry.accepted.verb == "convert" else self.inspectors
        ahead = workers.health().waiting if entry.state == "queued" else 0
        return self.job_admission.seconds_of(ahead + 1)

    def delivery(self, place: AbstractContextManager[None]) -> Delivery:
        """Return the bounds on sending an artifact or a report, which holds `place` meanwhile."""
        return Delivery(
            place=place,
            idle_s=self.settings.client_idle_s,
            whole_s=self.settings.download_timeout_s,
        )


@dataclass(frozen=True)
class Caller:
    """The client that sent a request.

    Attributes:
        owner: The owner of its job.
        share: The client that the request counts for, see `share_of`.
    """

    owner: str
    share: str


def context_of(request: Request) -> Context:
    """Return the parts of the service that a request came to."""
    context: Context = request.app.state.context
    return context


async def _context(request: Request) -> Context:
    return context_of(request)


# Only for the documentation: `Keyring.owner` checks the key, since it distinguishes a bad scheme
# from a missing key.
_bearer = HTTPBearer(auto_error=False, description="A key of `CONVLAST_API_KEYS_FILE`.")


async def _caller(
    request: Request, _: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]
) -> Caller:
    context = context_of(request)
    owner = context.keyring.owner(request.headers.get("authorization"))
    request.scope[OWNER_KEY] = owner
    if owner == ANONYMOUS:
        settings = context.settings
        refuse_pages(request.headers, hosts=settings.trusted_hosts, origins=settings.cors_origins)
    return Caller(owner, share_of(owner, request.client.host if request.client else None))


ContextOf: TypeAlias = Annotated[Context, Depends(_context)]
CallerOf: TypeAlias = Annotated[Caller, Depends(_caller)]
