"""The lines of the log about the service itself: what starts, and when it is ready."""

from __future__ import annotations

import asyncio
import platform
import sys

import structlog

from convlast.version import __version__
from service.settings import Settings
from service.workers import Workers

_LOOK_S = 0.1
_LIMITS = (
    "max_upload_bytes", "work_bytes", "store_bytes", "store_age_s", "worker_memory_bytes",
    "job_timeout_s", "queue_size", "jobs_per_key", "pending_jobs", "max_downloads",
    "max_connections",
)  # fmt: skip
_log = structlog.get_logger()


def tell_start(settings: Settings) -> None:
    """Log what starts, and with which keys and limits."""
    _log.info(
        "starting",
        version=__version__,
        revision=settings.revision or None,
        python=platform.python_version(),
        device=settings.device,
        keys=served(settings),
        sandbox="required" if settings.require_sandbox else "wanted",
        limits={name: getattr(settings, name) for name in _LIMITS},
    )


async def tell_ready(workers: Workers) -> None:
    """Log once that the first worker is ready, with its device and the walls of its sandbox."""
    while not (health := workers.health()).ready:  # noqa: ASYNC110  # it has no event
        await asyncio.sleep(_LOOK_S)
    _log.info(
        "ready",
        torch=health.facts.get("torch"),
        devices=list(dict.fromkeys(lane.gpu or lane.device for lane in health.lanes)),
        lanes=len(health.lanes),
        walls=[wall.name for wall in health.walls if wall.held],
        missing_walls=[wall.name for wall in health.walls if not wall.held],
    )


def tell_failure(error: Exception) -> None:
    """Tell why the service cannot start: to a person in words, to a log in a line of JSON."""
    if sys.stderr.isatty():
        sys.stderr.write(f"convlast cannot start: {error}\n")
    else:
        _log.critical("cannot start", problem=str(error))


def served(settings: Settings) -> str:
    """Return who is served, by whether keys are needed."""
    if settings.api_keys_file is None:
        return "none: everybody is served"
    return "not needed" if settings.allow_anonymous else "needed"
