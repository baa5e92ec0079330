"""What the span of a job tells: no name of a file, and no key."""

from __future__ import annotations

from service.jobs.entry import JobEntry
from service.telemetry.traces import JobEnd, Traces


def begin_trace(entry: JobEntry, traces: Traces) -> None:
    """Begin the span of a job, as a child of the request that it came with."""
    accepted = entry.accepted
    entry.trace = traces.of_job(
        accepted.traceparent,
        {
            "job_id": entry.id,
            "request_id": accepted.request_id,
            "verb": accepted.verb,
            "bytes": accepted.bytes,
        },
    )


def end_trace(entry: JobEntry) -> None:
    """End it, with the outcome if there is one; a job that is suspended has none."""
    outcome = entry.outcome
    if outcome is None:
        entry.trace.end(JobEnd("suspended", attributes={"attempts": entry.attempts}))
        return
    facts = {"device": outcome.device, "attempts": outcome.attempt, "verdict": outcome.verdict}
    code = outcome.problem["code"] if outcome.problem and outcome.state == "failed" else None
    entry.trace.end(JobEnd(outcome.state, code, outcome.seconds, facts))
