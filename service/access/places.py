"""The places that there are: of requests, asynchronous jobs, followers and downloads."""

from __future__ import annotations

from collections.abc import Callable

from service.access.admission import Admission
from service.settings import Settings


def of_requests(settings: Settings, lanes: Callable[[], int]) -> Admission:
    """Return the places of requests that upload, or wait for their jobs."""
    return Admission(
        settings.queue_size,
        setting="CONVLAST_QUEUE_SIZE",
        per_client=settings.jobs_per_key,
        per_client_setting="CONVLAST_JOBS_PER_KEY",
        lanes=lanes,
    )


def of_pending_jobs(settings: Settings) -> Admission:
    """Return the places of asynchronous jobs that wait or run."""
    return Admission(
        settings.pending_jobs,
        setting="CONVLAST_PENDING_JOBS",
        per_client=settings.pending_jobs_per_key,
        per_client_setting="CONVLAST_PENDING_JOBS_PER_KEY",
    )


def of_followers(settings: Settings) -> Admission:
    """Return the places of requests that wait for news of a job; one client gets most of them."""
    return Admission(
        settings.max_followers,
        setting="CONVLAST_MAX_FOLLOWERS",
        per_client=max(1, settings.max_followers * 3 // 4),
    )


def of_downloads(settings: Settings) -> Admission:
    """Return the places of downloads."""
    return Admission(
        settings.max_downloads,
        setting="CONVLAST_MAX_DOWNLOADS",
        per_client=settings.jobs_per_key,
        per_client_setting="CONVLAST_JOBS_PER_KEY",
    )
