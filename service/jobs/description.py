"""The status of a job, as clients read it."""

from __future__ import annotations

from datetime import UTC, datetime

from convlast.jobs import JobInput, JobProgress, JobStatus
from service.jobs.entry import JobEntry
from service.jobs.records import ARTIFACT, PROVENANCE_JSON
from service.problems import JOB_FIELD, VERDICT_FIELD
from service.workers import REPORT_HTML, REPORT_JSON

MAX_REPORT_BYTES = 8 << 20
"""The most bytes of a report that is written anew, as Markdown, JUnit or SARIF: some nine thousand
layers, or twenty-two thousand that were not run and have an error each. It takes less than 100 MiB
of memory and two seconds, in which the event loop goes on."""


def describe(entry: JobEntry, *, base: str, max_age_s: float) -> JobStatus:
    """Describe a job.

    Args:
        entry: The job.
        base: The URL below which its links are.
        max_age_s: How long a finished job is kept, in seconds.
    """
    accepted, outcome, standing = entry.accepted, entry.outcome, entry.standing
    finished_at = outcome.finished_at if outcome else None
    return JobStatus(
        id=accepted.id,
        verb=accepted.verb,
        state=entry.state,
        created_at=_time(accepted.created_at),
        started_at=_maybe_time(outcome.started_at if outcome else standing.started_at),
        finished_at=_maybe_time(finished_at),
        expires_at=_maybe_time(finished_at and finished_at + max_age_s),
        input=JobInput(
            filename=accepted.filename,
            sha256=entry.sha256,
            bytes=accepted.bytes,
            source=accepted.shown_source,
        ),
        target=accepted.shown_target,
        options=entry.changed_options(),
        attempts=standing.attempts,
        device=standing.device,
        place=standing.place,
        wait_s=standing.wait_s,
        progress=_end(entry.seq) if outcome else standing.progress(),
        verdict=outcome.verdict if outcome else None,
        links=links_of(base, entry),
        problem=outcome.problem if outcome else None,
    )


def json_of(entry: JobEntry, *, base: str, max_age_s: float) -> bytes:
    """Return the description of a job as JSON, written once for all that ask before it changes."""
    wanted = (entry.seq, base)
    if entry.written is None or entry.written[0] != wanted:
        text = describe(entry, base=base, max_age_s=max_age_s).model_dump_json()
        entry.written = (wanted, text.encode())
    return entry.written[1]


def fields_of(entry: JobEntry) -> dict[str, str]:
    """Return the fields of every answer about a job: its id, and its verdict if there is one."""
    verdict = entry.outcome.verdict if entry.outcome else None
    return {JOB_FIELD: entry.id, **({VERDICT_FIELD: verdict} if verdict else {})}


def _end(seq: int) -> JobProgress:
    return JobProgress(stage="end", done=1, total=1, seq=seq)


def links_of(base: str, entry: JobEntry) -> dict[str, str]:
    """Return the URLs of a job and of its files."""
    own = f"{base}/jobs/{entry.id}"
    return {"self": own, "events": f"{own}/events", **file_links_of(base, entry)}


def file_links_of(base: str, entry: JobEntry) -> dict[str, str]:
    """Return the URLs of the files of a job, if they are stored."""
    paths = {
        "artifact": (ARTIFACT, "artifact"),
        "report": (REPORT_JSON, "report"),
        "html": (REPORT_HTML, "report.html"),
        "markdown": (REPORT_JSON, "report.md"),
        "junit": (REPORT_JSON, "report.xml"),
        "sarif": (REPORT_JSON, "report.sarif"),
        "archive": (ARTIFACT, "archive"),
        "provenance": (PROVENANCE_JSON, "provenance"),
    }
    absent = () if has_written_kinds(entry) else ("markdown", "junit", "sarif")
    return {
        link: f"{base}/jobs/{entry.id}/{path}"
        for link, (name, path) in paths.items()
        if entry.is_kept and name in entry.made and link not in absent
    }


def has_written_kinds(entry: JobEntry) -> bool:
    """Return whether a job has a report, and one that is small enough to be written anew."""
    report = entry.made.get(REPORT_JSON)
    return report is not None and report.bytes <= MAX_REPORT_BYTES


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _maybe_time(seconds: float | None) -> datetime | None:
    return None if seconds is None else _time(seconds)
