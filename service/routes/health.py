"""Probes, metrics and versions. They need no key, except `/metrics` if a setting requires one."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST

from convlast.version import __version__
from service.context import Context, ContextOf
from service.problems import Problem, ProblemError
from service.routes import readable
from service.routes.openapi import problems
from service.storage.workspace import StorageState
from service.telemetry.metrics import of_build, of_disk, of_readiness
from service.telemetry.readiness import Readiness

_UNKNOWN_STORAGE = StorageState("The work folder does not answer.")

router = APIRouter(tags=["operation"])


@readable(router, "/livez", summary="Whether the service is alive", response_description="It is.")
async def livez() -> dict[str, str]:
    """Answer as soon as the event loop runs."""
    return {"status": "alive"}


@readable(
    router,
    "/readyz",
    summary="Whether a job that comes now would be run",
    response_description="A job would be run.",
    responses=problems("not-ready"),
)
async def readyz(context: ContextOf) -> JSONResponse:
    """Check the workers, their device, and the disk."""
    storage = await _storage(context)
    context.keyring.refresh()
    readiness = _readiness(context, storage)
    checks: dict[str, Any] = {
        "converters": readiness.converters.model_dump(),
        "inspectors": readiness.inspectors.model_dump(),
        "storage": {"problem": storage.problem},
        "draining": readiness.is_draining,
        "warnings": readiness.warnings,
    }
    if wrong := readiness.problems:
        admission = context.job_admission
        wait = (
            {"retry_after_s": admission.seconds_of(admission.taken_count)}
            if admission.draining
            else {}
        )
        members = {"checks": checks, **wait}
        raise ProblemError(Problem("not-ready", " ".join(wrong), members))
    return JSONResponse({"status": "ready", "checks": checks})


@readable(router, "/version", summary="What runs here", response_description="The versions.")
async def version(context: ContextOf) -> dict[str, Any]:
    """Return the versions and the device; those of the worker are included once it is warm."""
    facts = context.converters.health().facts
    return {
        "convlast": __version__,
        **({"revision": context.settings.revision} if context.settings.revision else {}),
        **{name: value for name, value in facts.items() if not name.startswith("memory_")},
    }


@readable(
    router,
    "/metrics",
    summary="Counters for Prometheus",
    response_class=Response,
    responses={
        200: {"description": "The counters.", "content": {"text/plain": {}}},
        **problems("unauthorized"),
    },
)
async def metrics(request: Request, context: ContextOf) -> Response:
    """Return all metrics in Prometheus' text format; a setting can require a key."""
    if context.settings.metrics_need_key:
        context.keyring.owner(request.headers.get("authorization"))
    storage, gpus = await asyncio.gather(_storage(context), context.gpus.take())
    samples = [
        of_build(context.settings.revision),
        *of_readiness(_readiness(context, storage)),
        *of_disk(storage),
        *(gpus or []),
    ]
    text = context.metrics.exposition(samples)
    return Response(text, media_type=CONTENT_TYPE_LATEST)


async def _storage(context: Context) -> StorageState:
    return await context.storage.take() or _UNKNOWN_STORAGE


def _readiness(context: Context, storage: StorageState) -> Readiness:
    return Readiness(
        converters=context.converters.health(),
        inspectors=context.inspectors.health(),
        storage=storage.problem,
        keys=context.keyring.problem,
        is_draining=context.job_admission.draining,
    )
