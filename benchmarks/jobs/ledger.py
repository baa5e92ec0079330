"""Every answer about the jobs of a trial; says which of them contradict each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.jobs.orders import Order, is_passing
from convlast.jobs import FINISHED

End = Mapping[str, Any]
"""The status of a job that has ended."""


@dataclass
class Known:
    """What clients were told of one job.

    Attributes:
        order: What was asked for.
        ends: The different ends that were told, in the order in which they came.
        is_delete_sent: Whether a client asked to delete it, answered or not.
        is_gone: Whether a client was told that there is no such job.
    """

    order: Order
    ends: list[End] = field(default_factory=list)
    is_delete_sent: bool = False
    is_gone: bool = False

    @property
    def is_removed(self) -> bool:
        """Whether nothing needs to be left of it: it may have ended before it was deleted."""
        return self.is_delete_sent and self.is_gone


class Ledger:
    """The jobs that were accepted, and all that was told of them."""

    def __init__(self) -> None:
        self.jobs: dict[str, Known] = {}
        self.counts: Counter[str] = Counter()
        """How often clients did something, or were told something."""
        self.wrong: list[str] = []

    def accepted(self, job_id: str, order: Order) -> None:
        """Note that a request was answered with a job."""
        self.counts["accepted"] += 1
        known = self.jobs.setdefault(job_id, Known(order))
        if known.order is not order:
            self.wrong.append(f"{job_id}: one job for orders {known.order.number}, {order.number}")

    def told(self, status: End) -> bool:
        """Note what a client was told of a job, and return whether that has ended."""
        known = self.jobs[status["id"]]
        if status["state"] not in FINISHED:
            if any(not is_passing(end) for end in known.ends):
                self.wrong.append(f"{status['id']}: {status['state']} after its end")
            return False
        if not known.ends or known.ends[-1] != status:
            known.ends.append(status)
        return True

    def judge(self) -> list[str]:
        """Return all that is wrong, one sentence each."""
        told = [f"{job_id}: {what}" for job_id in self.jobs for what in self._judged(job_id)]
        by_order = Counter(known.order.number for known in self.jobs.values())
        told += [f"order {number}: {jobs} jobs" for number, jobs in by_order.items() if jobs > 1]
        return [*self.wrong, *told]

    def _judged(self, job_id: str) -> Iterator[str]:
        known = self.jobs[job_id]
        if known.is_gone and not known.is_delete_sent:
            yield "lost: the service does not know it"
        if not known.ends and not known.is_removed:
            yield "lost: it never ended"
        for end in known.ends:
            if not known.order.allows(end):
                yield f"{known.order.kind}, and {_named(end)} in attempt {end['attempts']}"
        # Only a second request for the same job may have run it anew, after a crash.
        lasting = [end for end in known.ends if not (known.order.is_twin and is_passing(end))]
        if len(lasting) > 1:
            yield f"{len(lasting)} different ends: {', '.join(map(_named, lasting))}"

    def outcomes(self) -> dict[str, int]:
        """Count the jobs by kind and end."""
        counts: Counter[str] = Counter()
        for known in self.jobs.values():
            end = _named(known.ends[-1]) if known.ends else "removed by its client"
            counts[f"{known.order.kind}: {end}"] += 1
        return dict(sorted(counts.items()))

    def run_again(self) -> int:
        """Count the jobs that were begun more than once."""
        last = [known.ends[-1] for known in self.jobs.values() if known.ends]
        return sum(end["attempts"] > 1 for end in last)


def _named(end: End) -> str:
    code = (end["problem"] or {}).get("code")
    return f"{end['state']} ({code})" if code else str(end["state"])
