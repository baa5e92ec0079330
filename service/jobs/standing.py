"""How far a job is, as one value: replaced at each change, and sent to other services as JSON."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from convlast.jobs import JobProgress
from convlast.progress import IN_BYTES


class Standing(BaseModel):
    """How far a job is."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    seq: int = 0
    """Grows with every change."""
    attempts: int = 0
    """How often it was begun."""
    started_at: float | None = None
    """When its attempt began, in seconds since 1970, if it runs."""
    device: str | None = None
    """Where it runs, or ran last."""
    place: int | None = None
    """Its place in the queue."""
    wait_s: float | None = None
    """How long it will probably wait there."""
    stage: str = "queue"
    """What it does, or did last."""
    done: int = 0
    total: int = 0
    remaining_s: float | None = None
    """How long the stage will probably take."""

    def progress(self) -> JobProgress:
        """Describe it for clients."""
        in_bytes = self.stage in IN_BYTES
        return JobProgress(
            stage=self.stage,
            done=self.done,
            total=self.total,
            unit="bytes" if in_bytes else "jobs" if self.stage == "queue" else "steps",
            seq=self.seq,
            remaining_s=self.remaining_s,
        )
