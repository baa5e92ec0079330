"""The application, put together from its settings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from convlast.version import __version__
from service import openapi, problems
from service.access import Keyring
from service.context import Context
from service.lingering import LingeringClose
from service.metrics import Metrics
from service.observation import Observation
from service.places import Places
from service.routes import convert, health, jobs
from service.settings import Settings
from service.workers import Workers
from service.workers.local import LocalWorkers
from service.workspace import Workspace

TASK = "service.workers.conversion"
_SWEEP_INTERVAL_S = 30.0


def create_app(
    settings: Settings, *, converters: Workers | None = None, inspectors: Workers | None = None
) -> FastAPI:
    """Make an application that serves with these settings.

    Args:
        settings: The settings.
        converters: Where conversions run, if not in processes of this machine.
        inspectors: Where inspections run, likewise.

    Raises:
        SettingsError: If the keys or the work folder cannot be used.
    """
    context = Context(
        settings=settings,
        keyring=Keyring.of(settings),
        workspace=Workspace(settings),
        places=Places(settings.queue_size + 1, per_owner=settings.jobs_per_key),
        metrics=Metrics(),
        converters=converters or local_workers(settings, settings.device),
        inspectors=inspectors or local_workers(settings, "cpu"),
    )
    _watch(context)
    app = FastAPI(
        title="convlast",
        version=__version__,
        description="Converts the Conv3d weights of PyTorch checkpoints to channels_last_3d, "
        "and proves the result.",
        lifespan=_lifespan,
    )
    app.state.context = context
    for router in (convert.router, jobs.router, health.router):
        app.include_router(router)
    problems.install(app)
    openapi.install(app, anonymous_allowed=context.keyring.anonymous_allowed)
    app.add_middleware(LingeringClose)
    app.add_middleware(Observation, metrics=context.metrics)
    return app


def local_workers(settings: Settings, device: str, task: str = TASK) -> LocalWorkers:
    """Make workers on this machine."""
    return LocalWorkers(task=task, device=device, job_timeout_s=settings.job_timeout_s)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Keep the workers warm and the store within its bounds while the application runs."""
    context: Context = app.state.context
    await context.converters.start()
    await context.inspectors.start()
    sweeper = asyncio.create_task(_sweep(context))
    try:
        yield
    finally:
        sweeper.cancel()
        await context.converters.stop()
        await context.inspectors.stop()
        context.workspace.close()


async def _sweep(context: Context) -> None:
    interval_s = min(_SWEEP_INTERVAL_S, context.settings.store_age_s)
    while True:
        await asyncio.sleep(interval_s)
        await asyncio.to_thread(context.workspace.store.sweep)


def _watch(context: Context) -> None:
    """Add the gauges that are read from the parts."""
    store, places = context.workspace.store, context.places
    watch = context.metrics.watch
    watch("convlast_places_taken", "Requests that upload, wait or run.", lambda: places.taken_count)
    watch("convlast_store_bytes", "Bytes of finished jobs that are kept.", lambda: store.bytes)
    watch("convlast_store_jobs", "Finished jobs that are kept.", lambda: len(store))
