"""The messages between the service and a worker: one JSON document per line.

The worker has opened an untrusted file, so its messages are parsed as data and checked against
these models: every value, not only its type. Nothing is unpickled, no file name is a path, and
texts reach only the log and the members of a problem.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, TypeAdapter

from service.sandbox.wall import Wall
from service.workers import Finished, Job, JobFiles

MAX_LINE_BYTES = 128 << 10
MAX_TEXT = 8_000
MAX_FACTS, MAX_NAMES = 64, 100
MAX_NUMBER = (1 << 63) - 1

RESERVED = {
    *("type", "title", "status", "code", "detail", "instance"),
    *("request_id", "job_id", "report", "retry_after_s"),
}
"""Members of a problem that only the service sets."""

_NAME = r"[a-z][a-z0-9_-]{0,63}"


def _check_facts(facts: dict[str, Any]) -> dict[str, Any]:
    """Check that these are a few short values with plain names.

    Checked by hand, the number first: pydantic would describe each of 100,000 errors.
    """
    if len(facts) > MAX_FACTS:
        raise ValueError("there are too many facts")
    for name, value in facts.items():
        if re.fullmatch(_NAME, name) is None or not _is_fact(value):
            raise ValueError("a fact has a bad name or value")
    return facts


def _is_fact(value: object) -> bool:
    """Return whether a value is a text, none, a short list of texts, or a number in JSON's range.

    >>> [_is_fact(each) for each in ("text", 7, ["a", "b"], {}, [[]], 10**30, float("nan"))]
    [True, True, True, False, False, False, False]
    """
    if isinstance(value, list):
        return len(value) <= MAX_NAMES and all(isinstance(each, str) for each in value)
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, str) or _is_number(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int) and abs(value) <= MAX_NUMBER


def _check_members(members: dict[str, Any]) -> dict[str, Any]:
    if RESERVED & members.keys():
        raise ValueError("a member is reserved for the service")
    return members


Text = Annotated[str, Field(max_length=MAX_TEXT)]
Name = Annotated[str, Field(pattern=f"^{_NAME}$")]
Count = Annotated[int, Field(ge=0, le=MAX_NUMBER)]
Facts = Annotated[dict[str, Any], AfterValidator(_check_facts)]


class LocalJob(Job):
    """A job whose files lie on the worker's own machine."""

    source: Path
    """The checkpoint."""
    folder: Path
    """The folder for the artifact, `report.json` and `report.html`."""

    @classmethod
    def of(cls, job: Job, files: JobFiles) -> LocalJob:
        """Add the places of the files to a job."""
        return cls(**dict(job), source=files.source, folder=files.folder)


class Run(BaseModel):
    """Requests a job; the worker ends after it."""

    verb: Literal["run"] = "run"
    job: LocalJob


class Probe(BaseModel):
    """Requests one small operation on the device."""

    verb: Literal["probe"] = "probe"


class Ready(BaseModel):
    """The worker is warm, or has answered a probe; it has not opened a client's file yet."""

    event: Literal["ready"] = "ready"
    facts: Facts
    walls: list[Wall] = Field(max_length=32, fail_fast=True)


class Stage(BaseModel):
    """The progress of a job."""

    event: Literal["stage"] = "stage"
    name: Name
    done: Count
    total: Count


class Refused(BaseModel):
    """The job ended with a `ConvlastError`; its folder may contain a report."""

    event: Literal["refused"] = "refused"
    code: Name
    detail: Text
    members: Annotated[Facts, AfterValidator(_check_members)] = Field(default_factory=dict)
    has_report: bool = False


class Failed(BaseModel):
    """The job ended with an unexpected error."""

    event: Literal["failed"] = "failed"
    traceback: Text


Event = Ready | Stage | Refused | Failed | Finished

COMMAND: TypeAdapter[Run | Probe] = TypeAdapter(Annotated[Run | Probe, Field(discriminator="verb")])
EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="event")])
