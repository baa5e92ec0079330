"""What is said over the pipe between the service and a worker: one JSON document a line.

The worker has opened a file that nobody trusts, so what it says is parsed as data and checked
against these models: each value, not its type alone. Nothing is unpickled, no name of a file is a
path, and no text goes further than the members of a problem.
"""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, TypeAdapter

from service.sandbox.wall import Wall
from service.workers import Finished, Job

MAX_LINE_BYTES = 128 << 10
MAX_TEXT = 8_000
MAX_FACTS, MAX_NAMES = 64, 100
MAX_NUMBER = (1 << 63) - 1

RESERVED = {
    *("type", "title", "status", "code", "detail", "instance"),
    *("request_id", "report", "retry_after_s"),
}
"""Members of a problem that the service alone writes."""

_NAME = r"[a-z][a-z0-9_-]{0,63}"


def _check_facts(facts: dict[str, Any]) -> dict[str, Any]:
    """Refuse what is not a few short values under plain names.

    Done by hand, and in this order: pydantic would first describe each of 100,000 faults.
    """
    if len(facts) > MAX_FACTS:
        raise ValueError("there are too many")
    for name, value in facts.items():
        if re.fullmatch(_NAME, name) is None or not _is_fact(value):
            raise ValueError("one is none")
    return facts


def _is_fact(value: object) -> bool:
    """Say whether a value is plain, short, and a number that JSON has.

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
        raise ValueError("one is the service's")
    return members


Text = Annotated[str, Field(max_length=MAX_TEXT)]
Name = Annotated[str, Field(pattern=f"^{_NAME}$")]
Count = Annotated[int, Field(ge=0, le=MAX_NUMBER)]
Facts = Annotated[dict[str, Any], AfterValidator(_check_facts)]


class Run(BaseModel):
    """Asks for a job; the worker ends after it."""

    verb: Literal["run"] = "run"
    job: Job


class Probe(BaseModel):
    """Asks for one small operation on the device."""

    verb: Literal["probe"] = "probe"


class Ready(BaseModel):
    """The worker is warm, or has answered a probe; it has not opened anybody's file yet."""

    event: Literal["ready"] = "ready"
    facts: Facts
    walls: list[Wall] = Field(max_length=32, fail_fast=True)


class Stage(BaseModel):
    """How far a job is."""

    event: Literal["stage"] = "stage"
    name: Name
    done: Count
    total: Count


class Refused(BaseModel):
    """The job ended with an error of the tree; a report may lie in the folder."""

    event: Literal["refused"] = "refused"
    code: Name
    detail: Text
    members: Annotated[Facts, AfterValidator(_check_members)] = Field(default_factory=dict)
    has_report: bool = False


class Failed(BaseModel):
    """The job ended with an error that nobody foresaw."""

    event: Literal["failed"] = "failed"
    traceback: Text


Event = Ready | Stage | Refused | Failed | Finished

COMMAND: TypeAdapter[Run | Probe] = TypeAdapter(Annotated[Run | Probe, Field(discriminator="verb")])
EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="event")])
