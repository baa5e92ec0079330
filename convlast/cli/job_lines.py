"""The jobs of a service, in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.console import Group, RenderableType
from rich.text import Text

from convlast.jobs import JobStatus
from convlast.progress import IN_BYTES
from convlast.report.rendering.notation import count, printable, size


def render_list(jobs: Sequence[JobStatus]) -> RenderableType:
    """Render jobs, a line each: the id, the state, and what there is to say of it."""
    if not jobs:
        return Text("There are no jobs.")
    return Group(*(_line(f"{_plain(job.id)}  {job.state:<9}  {_about(job)}") for job in jobs))


def render(job: JobStatus) -> RenderableType:
    """Render the status of a job."""
    lines = {
        "job": job.id,
        "state": job.state,
        "what": f"{job.verb} {job.input.filename} ({size(job.input.bytes)})",
        "from": job.input.source or "",
        "to": job.target or "",
        "options": ", ".join(f"{name}={value}" for name, value in job.options.items()),
        "now": _progress(job),
        "created": _time(job.created_at),
        "finished": _time(job.finished_at),
        "kept until": _time(job.expires_at),
        "verdict": job.verdict or "",
        "reason": _reason(job),
    }
    return Group(*(_line(f"{name:<11}{_plain(said)}") for name, said in lines.items() if said))


def _line(said: str) -> Text:
    """Return a line that is not broken, so that a script can read it."""
    return Text(said, no_wrap=True, overflow="ignore")


def _about(job: JobStatus) -> str:
    """Return what a job is about, and how far it is or how it ended."""
    said = _progress(job) or job.verdict or _reason(job)
    return _plain(f"{job.verb} {job.input.filename}" + (f": {said}" if said else ""))


def _progress(job: JobStatus) -> str:
    """Return how far a job is that is not finished."""
    if job.is_finished:
        return ""
    if job.place is not None:
        waits = "" if job.wait_s is None else f", about {job.wait_s:,.0f} s to wait"
        return f"place {job.place:,} in the queue{waits}"
    told = job.progress
    in_bytes = told.unit == "bytes" or told.stage in IN_BYTES
    done = size(told.done) if in_bytes else f"{told.done:,}"
    total = size(told.total) if in_bytes else count(told.total, "step")
    left = "" if told.remaining_s is None else f", about {told.remaining_s:,.0f} s left"
    return f"{told.stage}, {done} of {total}{left}" if told.total else told.stage


def _reason(job: JobStatus) -> str:
    """Return why a job failed."""
    if job.state != "failed":
        return ""
    problem = job.problem or {}
    return f"{problem.get('code', 'internal')}: {problem.get('detail', 'no reason is given')}"


def _time(when: datetime | None) -> str:
    return "" if when is None else f"{when:%Y-%m-%d %H:%M:%S %Z}"


def _plain(text: str) -> str:
    """Return a text of the service without what would move the cursor, on one line."""
    return " ".join(printable(text).split())
