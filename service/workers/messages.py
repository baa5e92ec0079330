"""What is said over the pipe between the service and a worker: one JSON document a line.

The worker has opened a file that nobody trusts, so what it says is parsed as data and checked
against these models; nothing is unpickled.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, TypeAdapter

from service.sandbox.part import Part
from service.workers import Finished, Job

MAX_LINE_BYTES = 1 << 20


class Run(BaseModel):
    """Asks for a job; the worker ends after it."""

    verb: Literal["run"] = "run"
    job: Job


class Probe(BaseModel):
    """Asks for one small operation on the device."""

    verb: Literal["probe"] = "probe"


class Ready(BaseModel):
    """The worker is warm, or has answered a probe."""

    event: Literal["ready"] = "ready"
    facts: dict[str, Any]
    walls: list[Part]


class Stage(BaseModel):
    """How far a job is."""

    event: Literal["stage"] = "stage"
    name: str
    done: int
    total: int


class Refused(BaseModel):
    """The job ended with an error of the tree; a report may lie in the folder."""

    event: Literal["refused"] = "refused"
    code: str
    detail: str
    members: dict[str, Any] = Field(default_factory=dict)
    has_report: bool = False


class Failed(BaseModel):
    """The job ended with an error that nobody foresaw."""

    event: Literal["failed"] = "failed"
    traceback: str


Event = Ready | Stage | Refused | Failed | Finished

COMMAND: TypeAdapter[Run | Probe] = TypeAdapter(Annotated[Run | Probe, Field(discriminator="verb")])
EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="event")])
