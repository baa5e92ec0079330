"""The ledger of the kill test: which answers contradict each other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from benchmarks.jobs.ledger import Ledger
from benchmarks.jobs.orders import Order

QUICK = Order(1, "ada", "quick", "convert", b"fine")
REFUSING = Order(2, "bob", "refusing", "convert", b"refuses")
RUNNING = {"id": "a", "state": "running", "problem": None, "attempts": 1}
DONE = {**RUNNING, "state": "succeeded", "finished_at": "now"}
CRASHED = {**DONE, "state": "failed", "problem": {"code": "worker-crashed"}, "attempts": 2}


def judged(*statuses: dict[str, Any], order: Order = QUICK, **known: bool) -> list[str]:
    """Return what is wrong about one job of which this was told."""
    ledger = Ledger()
    ledger.accepted("a", order)
    for name, value in known.items():
        setattr(ledger.jobs["a"], name, value)
    for status in statuses:
        ledger.told(status)
    return ledger.judge()


@pytest.mark.parametrize(
    ("statuses", "order"),
    [
        ([RUNNING, DONE, DONE], QUICK),
        ([CRASHED], QUICK),
        ([{**DONE, "state": "failed", "problem": {"code": "unsafe-checkpoint"}}], REFUSING),
        ([CRASHED, RUNNING, DONE], replace(QUICK, is_twin=True)),
        ([{**DONE, "state": "cancelled"}], replace(QUICK, is_deleted=True)),
    ],
)
def test_one_end_is_right(statuses: list[dict[str, Any]], order: Order) -> None:
    """However often it is told; after a crash a second client may get another one."""
    assert judged(*statuses, order=order) == []


@pytest.mark.parametrize(
    ("statuses", "order", "what"),
    [
        ([RUNNING], QUICK, "it never ended"),
        ([DONE, {**DONE, "finished_at": "later"}], QUICK, "2 different ends"),
        ([CRASHED, DONE], QUICK, "2 different ends"),
        ([DONE, RUNNING], replace(QUICK, is_twin=True), "running after its end"),
        ([{**CRASHED, "attempts": 1}], QUICK, "in attempt 1"),
        ([{**DONE, "state": "cancelled"}], QUICK, "quick, and cancelled"),
        ([DONE], REFUSING, "refusing, and succeeded"),
    ],
)
def test_each_contradiction_is_named(
    statuses: list[dict[str, Any]], order: Order, what: str
) -> None:
    """Once, in a sentence."""
    [told] = judged(*statuses, order=order)
    assert what in told


def test_a_job_may_be_gone_only_if_its_client_deleted_it() -> None:
    """Else it is lost."""
    assert judged(is_gone=True, is_delete_sent=True) == []
    assert "lost" in judged(DONE, is_gone=True)[0]


def test_one_order_has_one_job() -> None:
    """And one job one order."""
    ledger = Ledger()
    for job_id, order in (("a", QUICK), ("b", QUICK), ("b", REFUSING)):
        ledger.accepted(job_id, order)
        ledger.told({**DONE, "id": job_id})
    told = " ".join(ledger.judge())
    assert "order 1: 2 jobs" in told
    assert "b: one job for orders 1, 2" in told
    assert ledger.outcomes() == {"quick: succeeded": 2}
