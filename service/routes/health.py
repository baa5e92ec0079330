"""Probes, metrics and versions. They need no key, except `/metrics` if a setting requires one."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST

from convlast.version import __version__
from service.context import ContextOf
from service.problems import Problem, ProblemError
from service.routes import readable
from service.routes.openapi import problems
from service.telemetry.metrics import of_workers
from service.workers import Health

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
    converters, inspectors = context.converters.health(), context.inspectors.health()
    storage = await asyncio.to_thread(context.workspace.problem)
    context.keyring.refresh()
    checks: dict[str, Any] = {
        "converters": converters.model_dump(),
        "inspectors": inspectors.model_dump(),
        "storage": {"problem": storage},
        "draining": context.job_admission.draining,
        "warnings": [
            *converters.known_trouble,
            *_failed_devices(converters),
            *_present(context.keyring.problem),
        ],
    }
    wrong = [
        *(["The service is draining."] if context.job_admission.draining else []),
        *(
            each.problem or "No worker is ready."
            for each in (converters, inspectors)
            if not each.ready
        ),
        *([storage] if storage else []),
    ]
    if wrong:
        admission = context.job_admission
        wait = (
            {"retry_after_s": admission.seconds_of(admission.taken_count)}
            if admission.draining
            else {}
        )
        members = {"checks": checks, **wait}
        raise ProblemError(Problem("not-ready", " ".join(dict.fromkeys(wrong)), members))
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
    healths = {"converters": context.converters.health(), "inspectors": context.inspectors.health()}
    gpus = await context.gpus.take() if context.gpus else None
    text = context.metrics.exposition([*of_workers(healths), *(gpus or [])])
    return Response(text, media_type=CONTENT_TYPE_LATEST)


def _failed_devices(health: Health) -> list[str]:
    """Name the devices that do not work, while others do."""
    failed = [lane for lane in health.lanes if lane.problem and not lane.ready]
    return [f"{lane.device}: {lane.problem}" for lane in failed] if health.ready else []


def _present(warning: str | None) -> list[str]:
    return [warning] if warning else []
