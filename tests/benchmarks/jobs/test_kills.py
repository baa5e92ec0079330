"""The kill test, with fewer jobs."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

from benchmarks.jobs.kills import Trial
from benchmarks.jobs.orders import KINDS, draw


def test_no_job_is_lost_or_run_to_two_results(tmp_path: Path) -> None:
    """Whatever is killed meanwhile; afterwards no file and no process is left."""
    result = asyncio.run(Trial(tmp_path, seed=1).run(30))
    assert result["wrong"] == []
    assert sum(result["outcomes"].values()) == result["jobs"] <= 30
    assert result["harm"]["services ended by SIGKILL"] >= 1


def test_orders_are_of_all_kinds() -> None:
    """No two are the same but those of two clients."""
    orders = list(draw(200, random.Random(0)))  # noqa: S311  # it must be repeatable
    assert {order.kind for order in orders} == set(KINDS)
    assert len({order.content for order in orders}) == 200
    assert len(orders) == 200 + len({order.number for order in orders if order.is_twin})
