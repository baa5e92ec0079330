"""The line of the log about the end of a job: who sent what, what came of it, and why."""

from __future__ import annotations

from typing import Any

import structlog

from service.jobs.entry import JobEntry
from service.jobs.records import Outcome
from service.problems import TABLE

_DIGEST_CHARS = 12
_log = structlog.get_logger()


def tell_end(entry: JobEntry, outcome: Outcome) -> None:
    """Log the end of a job; an error if it is the service's, and not the client's."""
    accepted = entry.accepted
    failure = _failure(entry, outcome)
    is_ours = outcome.code is not None and TABLE[outcome.code].status >= 500
    log = _log.error if is_ours else _log.info
    log(
        "job ended",
        state=outcome.state,
        verb=accepted.verb,
        key=accepted.owner,
        client=accepted.share,
        bytes=accepted.bytes,
        sha256=(entry.sha256 or "")[:_DIGEST_CHARS],
        options=entry.changed_options(),
        device=outcome.device,
        attempt=outcome.attempt,
        verdict=outcome.verdict,
        stages_s={stage: round(stage_s, 4) for stage, stage_s in outcome.seconds.items()},
        **failure,
    )


def _failure(entry: JobEntry, outcome: Outcome) -> dict[str, Any]:
    """Return why a job has no result: the problem's code, the stage, and the worker's end."""
    if outcome.problem is None:
        return {}
    told = ("code", "ended_with") if outcome.code else ()
    return {
        "stage": entry.standing.stage,
        **{name: outcome.problem[name] for name in told if name in outcome.problem},
    }
