"""Creates the application from its settings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from starlette.routing import Route

from convlast.jobs import JobVerb
from convlast.version import __version__
from service import problems
from service.access import places
from service.access.admission import Admission
from service.access.keyring import Keyring
from service.connection import cors, root_path
from service.connection.limit import PROBES, ConnectionLimit
from service.connection.lingering_close import LingeringClose
from service.connection.observation import Observation
from service.connection.protection import Protection
from service.connection.root_path import RootPath
from service.connection.turns import Turns
from service.context import Context
from service.jobs.board import Jobs
from service.jobs.records import Outcome
from service.jobs.running.runs import Queueing
from service.jobs.sharing.taking_part import others_of
from service.routes import comparison, convert, docs, files, health, openapi
from service.routes import jobs as job_routes
from service.routes.pages import home
from service.settings import Settings
from service.storage.workspace import WORKERS, Workspace
from service.telemetry import families, service_lines
from service.telemetry.gpus import Gpus
from service.telemetry.metrics import Metrics
from service.telemetry.readings import Reading
from service.telemetry.traces import Traces
from service.transfers import Transfers
from service.transfers.access import StoreAccess
from service.workers import Confinement, Workers, machine
from service.workers.lanes.memory_budget import MemoryBudget
from service.workers.local import Capacity, LocalWorkers
from service.workers.preloaded import CONVERSION

if TYPE_CHECKING:
    from service.ray_engine.workers import RayWorkers

MOST_INSPECTORS = 4
"""The most inspections at once: they take milliseconds."""

_SWEEP_INTERVAL_S = 30.0
_ROUTERS = (convert.router, job_routes.router, files.router, comparison.router, health.router)


def create_app(
    settings: Settings,
    *,
    converters: Workers | None = None,
    inspectors: Workers | None = None,
    traces: Traces | None = None,
    stores: StoreAccess | None = None,
) -> FastAPI:
    """Make an application that serves with these settings.

    Args:
        settings: The settings.
        converters: Workers for conversions; by default those of `CONVLAST_ENGINE`.
        inspectors: Workers for inspections; by default processes on this machine.
        traces: Records requests and jobs; by default nobody does.
        stores: How stores are reached; by default without credentials.

    Raises:
        SettingsError: If the keys, the work folder, the certificates or the root path cannot be
            used.
        OptionError: If the settings name stores, and their packages are missing.
        StoreError: If the store that services share cannot be used.
    """
    root_path.check(settings.root_path, [*_paths()])
    memory, traces, stores = memory_of(settings), traces or Traces(), stores or StoreAccess()
    transfers = Transfers.of(settings, stores)
    converters = converters or workers_of(settings, settings.device, stores, memory=memory)
    inspectors = inspectors or local_workers(settings, "cpu", memory=memory, most=MOST_INSPECTORS)
    keyring, workspace, metrics = Keyring.of(settings), Workspace(settings), Metrics()
    job_admission = places.of_requests(settings, lambda: len(converters.health().lanes))
    pending_admission = places.of_pending_jobs(settings)
    jobs = Jobs(
        settings,
        workspace,
        {"convert": converters, "inspect": inspectors},
        transfers,
        Queueing(job_admission.seconds_of, pending_admission.hold),
        others=others_of(settings, stores),
    )
    jobs.runs.trace_of = traces.of_job
    jobs.runs.on_end = partial(_measure, metrics, (job_admission, pending_admission))
    context = Context(
        settings=settings,
        keyring=keyring,
        workspace=workspace,
        job_admission=job_admission,
        pending_admission=pending_admission,
        follower_admission=places.of_followers(settings),
        download_admission=places.of_downloads(settings),
        jobs=jobs,
        transfers=transfers,
        metrics=metrics,
        traces=traces,
        converters=converters,
        inspectors=inspectors,
        connection_limit=ConnectionLimit(settings.max_connections),
        storage=Reading("storage", workspace.look),
        gpus=Reading("gpus", list if settings.device == "cpu" else Gpus().read),
    )
    _watch(context, memory)
    app = FastAPI(
        title="convlast",
        version=__version__,
        description="Converts the Conv3d weights of PyTorch checkpoints to channels_last_3d, "
        "and proves the result.",
        lifespan=_lifespan,
        openapi_url=None,  # see service.routes.docs
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # a redirection would contain the client's own Host field
        **traces.of_fastapi(untraced=PROBES),
    )
    app.state.context = context
    for router in _ROUTERS:
        app.include_router(router)
    problems.install(app)
    openapi.install(
        app,
        anonymous_allowed=context.keyring.anonymous_allowed,
        root_path=settings.root_path,
    )
    if settings.docs:
        docs.install(app)
    if settings.page:
        home.install(app, has_docs=settings.docs, root_path=settings.root_path)
    # From the inside out: the middleware added last gets a request first.
    app.add_middleware(LingeringClose)
    cors.install(app, settings.cors_origins)
    app.add_middleware(Observation, metrics=context.metrics, traces=traces)
    app.add_middleware(Protection)
    app.add_middleware(Turns)
    if settings.root_path:
        app.add_middleware(RootPath, root_path=settings.root_path)
    return app


def _paths() -> Iterator[str]:
    """Yield the paths of the service, apart from the page at `/`."""
    yield from (docs.PATH, docs.OPENAPI_PATH)
    for router in _ROUTERS:
        yield from (route.path for route in router.routes if isinstance(route, Route))


def memory_of(settings: Settings) -> MemoryBudget:
    """Return the memory that all workers share."""
    total_bytes = settings.memory_bytes or machine.default_memory_bytes()
    return MemoryBudget(total_bytes, settings.worker_memory_bytes)


def workers_of(
    settings: Settings,
    device: str,
    stores: StoreAccess | None = None,
    *,
    memory: MemoryBudget | None = None,
) -> LocalWorkers | RayWorkers:
    """Make the workers for conversions, on this machine or on a cluster.

    Args:
        settings: The settings.
        device: The device or devices to use, as in the settings.
        stores: How the store is reached that the files of a cluster go through.
        memory: The memory of all workers on this machine; by default these have their own.

    Raises:
        SettingsError: If the token of the cluster cannot be used.
    """
    if settings.engine == "ray":
        # Imported now, since it needs the extra `ray`.
        from service.ray_engine.workers import RayWorkers

        return RayWorkers.of(settings, (stores or StoreAccess()).own_options())
    return local_workers(settings, device, memory=memory)


def local_workers(
    settings: Settings,
    device: str,
    task: str = CONVERSION,
    *,
    memory: MemoryBudget | None = None,
    most: int | None = None,
) -> LocalWorkers:
    """Make workers on this machine.

    Args:
        settings: The settings.
        device: The device or devices to use, as in the settings.
        task: The dotted name of the module that does the work.
        memory: The memory of all workers; by default these have their own.
        most: The most jobs at once on the CPU, if there is such a bound.
    """
    lanes = settings.workers or machine.default_workers()
    lanes = min(lanes, most or lanes)
    confinement = Confinement(
        folder=settings.work_dir / WORKERS,
        max_memory_bytes=settings.worker_memory_bytes,
        max_file_bytes=2 * max(settings.max_upload_bytes, settings.max_unpacked_bytes),
        cpu_threads=machine.threads_of_each(lanes),
        is_required=settings.require_sandbox,
    )
    return LocalWorkers(
        task=task,
        device=device,
        job_timeout_s=settings.job_timeout_s,
        confinement=confinement,
        capacity=Capacity(lanes, settings.warm_workers),
        memory=memory or memory_of(settings),
    )


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    """Keep workers warm and the store within its bounds while the application runs."""
    context: Context = app.state.context
    await context.converters.start()
    await context.inspectors.start()
    await context.jobs.start()
    beside = [
        asyncio.create_task(work)
        for work in (_sweep(context), service_lines.tell_ready(context.converters))
    ]
    try:
        # uvicorn passes this to service.connection.connections.
        yield {
            "settings": context.settings,
            "connection_limit": context.connection_limit,
            "metrics": context.metrics,
        }
    finally:
        for task in beside:
            task.cancel()
        await context.jobs.stop()
        await context.transfers.close()
        await context.converters.stop()
        await context.inspectors.stop()
        context.workspace.close()
        await context.traces.stop()


async def _sweep(context: Context) -> None:
    interval_s = min(_SWEEP_INTERVAL_S, context.settings.store_age_s)
    while True:
        await asyncio.sleep(interval_s)
        await context.jobs.table.sweep()


def _watch(context: Context, memory: MemoryBudget) -> None:
    """Add gauges for the parts of the service."""
    settings, jobs, quota = context.settings, context.jobs, context.workspace.quota
    connections = context.connection_limit
    gauges: dict[families.Family, Callable[[], float]] = {
        families.PLACES_TAKEN: lambda: context.job_admission.taken_count,
        families.PLACES_LIMIT: lambda: context.job_admission.count,
        families.PENDING_JOBS: lambda: context.pending_admission.taken_count,
        families.PENDING_JOBS_LIMIT: lambda: settings.pending_jobs,
        families.FOLLOWERS: lambda: context.follower_admission.taken_count,
        families.FOLLOWERS_LIMIT: lambda: settings.max_followers,
        families.DOWNLOADS: lambda: context.download_admission.taken_count,
        families.DOWNLOADS_LIMIT: lambda: settings.max_downloads,
        families.CONNECTIONS: lambda: connections.count,
        families.CONNECTIONS_LIMIT: lambda: settings.max_connections,
        families.WORK_BYTES: lambda: quota.taken_bytes,
        families.WORK_LIMIT_BYTES: lambda: settings.work_bytes,
        families.STORE_BYTES: lambda: jobs.table.kept_bytes,
        families.STORE_LIMIT_BYTES: lambda: settings.store_bytes,
        families.MEMORY_BYTES: lambda: memory.taken_bytes,
        families.MEMORY_LIMIT_BYTES: lambda: memory.total_bytes,
    }
    for family, value in gauges.items():
        context.metrics.watch(family, value)
    context.metrics.watch_by(families.JOBS, jobs.table.counts)


def _measure(
    metrics: Metrics, admissions: Iterable[Admission], verb: JobVerb, outcome: Outcome
) -> None:
    """Count a job that has ended."""
    metrics.ended(verb, outcome)
    if outcome.state == "succeeded":
        for admission in admissions:
            admission.ran(outcome.seconds["convert"])
