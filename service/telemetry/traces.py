"""Traces of requests and jobs: what the rest of the service uses, whether they are sent or not.

Without a collector the ids of the caller's trace still reach the log and the report.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from starlette.datastructures import Headers

from service.jobs.tracing.job_trace import JobTrace
from service.jobs.tracing.traceparent import FIELD, Traceparent


class Traces:
    """Traces that are not recorded. The ids of the caller's are passed on."""

    def of_fastapi(self, untraced: Collection[str]) -> dict[str, Any]:
        """Return the arguments that make FastAPI record a span for each request.

        Args:
            untraced: The paths that get none.
        """
        return {}

    def current(self, headers: Headers) -> Traceparent | None:
        """Return the span of the request that is being answered; without one, the caller's."""
        return Traceparent.read(*headers.getlist(FIELD))

    def describe(self, attributes: Mapping[str, Any]) -> None:
        """Add attributes to the span of the request that is being answered."""

    def was_uploaded(self, seconds: float) -> None:
        """Note that an upload of this request has ended, which took so long."""

    def joins(self, job: Traceparent | None) -> None:
        """Note that this request waits for the job of another one, whose span this is."""

    def of_job(self, parent: str | None, attributes: Mapping[str, Any]) -> JobTrace:
        """Begin the span of a job.

        Args:
            parent: The span of its request, as a `traceparent`.
            attributes: Facts about it; those that are None are left out.
        """
        return JobTrace.of(parent, attributes)

    async def stop(self) -> None:
        """Send what is left, or give up after a short time."""
