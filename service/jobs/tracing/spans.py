"""The span of a job: its parent, what it tells, and its ids in the log."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import structlog

from service.jobs.entry import JobEntry
from service.jobs.tracing.job_trace import JobEnd, JobTrace


@contextmanager
def traced(
    entry: JobEntry, trace_of: Callable[[str | None, dict[str, Any]], JobTrace]
) -> Iterator[None]:
    """Record a run of a job, and add the ids of the job to the lines of the log.

    The span is a child of the request's. It tells no name of a file, and no key.
    """
    accepted = entry.accepted
    ids = {"job_id": entry.id, "request_id": accepted.request_id}
    facts = {**ids, "verb": accepted.verb, "bytes": accepted.bytes}
    entry.trace = trace_of(accepted.traceparent, facts)
    with structlog.contextvars.bound_contextvars(**ids, **entry.trace.ids):
        try:
            yield
        finally:
            entry.trace.end(_end_of(entry))


def _end_of(entry: JobEntry) -> JobEnd:
    """Return how a job has ended; one that is suspended has no outcome."""
    outcome = entry.outcome
    if outcome is None:
        return JobEnd("suspended", attributes={"attempts": entry.attempts})
    facts = {"device": outcome.device, "attempts": outcome.attempt, "verdict": outcome.verdict}
    return JobEnd(outcome.state, outcome.code, outcome.seconds, facts)
