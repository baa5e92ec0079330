"""The benchmark of faults: what it counts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import pytest

from benchmarks import faults
from benchmarks.faults import Result, wait_until_settled
from tests.service.running import Running


def test_crashes_are_counted_whatever_the_job_was() -> None:
    """A worker that is killed may be that of any job."""
    result = Result()
    for kind, what in (
        ("convert", "worker-crashed"),
        ("kill_worker", "worker-crashed"),
        ("kill_worker", "200"),
        ("kill_worker", "worker-crashed"),
    ):
        result.note(kind, what)
    assert result.crashes() == 3


@dataclass
class Starting:
    """A service whose workers start one after the other."""

    left: list[int] = field(default_factory=lambda: list(range(5)))
    seen: set[int] = field(default_factory=set)

    def descendants(self) -> set[int]:
        """Return the processes, one more each time until all have started."""
        if self.left:
            self.seen.add(self.left.pop())
        return set(self.seen)


def test_processes_are_counted_after_all_have_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else workers that start later would look like those that were left behind."""
    monkeypatch.setattr(faults, "SETTLED_S", 0.2)
    service = Starting()
    wait_until_settled(cast(Running, service))
    assert service.left == []
