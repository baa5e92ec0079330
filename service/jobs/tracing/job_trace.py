"""What a job tells whoever records its trace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from service.jobs.tracing.traceparent import Traceparent


@dataclass(frozen=True)
class JobEnd:
    """The end of a job, for its span.

    Attributes:
        state: Its state, or `suspended`.
        code: The code of its problem, if it has failed.
        seconds: The wall time of its stages, as far as it is known.
        attributes: Other facts; those that are None are left out.
    """

    state: str
    code: str | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)


class JobTrace:
    """One run of a job, which nobody records.

    Attributes:
        parent: The span of the request that the job came with.
    """

    def __init__(self, parent: Traceparent | None = None) -> None:
        self.parent = parent

    @classmethod
    def of(cls, parent: str | None, _facts: Mapping[str, Any]) -> JobTrace:
        """Return the trace of a job whose request has this span, as a `traceparent`."""
        return cls(Traceparent.read(parent))

    @property
    def ids(self) -> dict[str, str]:
        """The fields of its lines in the log."""
        return self.parent.ids if self.parent else {}

    def waits(self) -> None:
        """Note that it waits for a worker."""

    def begins(self) -> None:
        """Note that a worker begins."""

    def goes_on(self, stage: str, done: int, total: int) -> None:
        """Note how far a stage is."""

    def end(self, end: JobEnd) -> None:
        """Note how it has ended."""
