"""The status of a job, as `GET /jobs/{id}` tells it: the service writes it, clients read it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from convlast.report import Verdict

JobVerb: TypeAlias = Literal["convert", "inspect"]
JobState: TypeAlias = Literal["queued", "running", "succeeded", "failed", "cancelled"]

FINISHED: frozenset[JobState] = frozenset({"succeeded", "failed", "cancelled"})
"""The states in which a job stays."""


class JobInput(BaseModel):
    """The checkpoint of a job."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    filename: str
    """The client's name for it."""
    sha256: str | None
    """The digest of its bytes, in hexadecimal; none as long as the service has not fetched it."""
    bytes: int
    """Its size."""
    source: str | None = None
    """Where the service fetches it from, without what may be secret."""


class JobProgress(BaseModel):
    """How far a job is."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    stage: str
    """`queue`, a stage of the work such as `write`, or `end`."""
    done: int = 0
    total: int = 0
    unit: Literal["bytes", "steps", "jobs"] = "steps"
    """The unit of `done` and `total`."""
    seq: int
    """Grows with every change of the job, even if the service is restarted."""
    remaining_s: float | None = None
    """Seconds that the rest of the stage will take at its rate so far, where that can be told."""


class JobStatus(BaseModel):
    """The status of a job of the service."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    id: str
    """Follows from the owner, the request and the versions: the same request has the same job."""
    verb: JobVerb
    state: JobState
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    expires_at: datetime | None = None
    """When the service removes the finished job; earlier if its store is full."""
    input: JobInput
    target: str | None = None
    """The folder in a store that gets the artifact and its reports."""
    options: dict[str, Any] = Field(default_factory=dict)
    """The options that are not at their defaults."""
    attempts: int = 0
    """How often it was begun: again after a worker or the service has crashed."""
    device: str | None = None
    """The device that it runs on, or ran on last."""
    place: int | None = None
    """Its place in the queue; 1 is next."""
    wait_s: float | None = None
    """Seconds that it will probably wait in the queue."""
    progress: JobProgress
    verdict: Verdict | None = None
    links: dict[str, str] = Field(default_factory=dict)
    """URLs: `self` and `events`, and `artifact`, `report`, `html`, `archive` if they exist."""
    problem: dict[str, Any] | None = None
    """Why it failed, as a problem document (RFC 9457)."""

    @property
    def is_finished(self) -> bool:
        """Whether it stays in its state."""
        return self.state in FINISHED
