from __future__ import annotations

from functools import partial

import pytest

from service.workers.lanes.memory_budget import MemoryBudget, MemoryPool

GIB = 1 << 30


@pytest.fixture
def pools() -> tuple[MemoryPool, MemoryPool]:
    """Make two pools of two lanes each in 16 GiB."""
    budget = MemoryBudget(16 * GIB, 8 * GIB)
    converters, inspectors = (budget.pool(lambda: None) for _ in range(2))
    converters.lanes = inspectors.lanes = 2
    return converters, inspectors


def test_all_lanes_fit_at_once(pools: tuple[MemoryPool, MemoryPool]) -> None:
    """The allowance of a small file is at most the total's share of a lane."""
    for pool in (*pools, *pools):
        allowance = pool.allowance(0)
        assert allowance == 4 * GIB
        assert pool.fits(allowance)
        pool.take(allowance)
    assert not pools[0].fits(1)


def test_a_lower_setting_for_one_worker_is_kept() -> None:
    """One worker gets no more than its own setting, whatever the total is."""
    pool = MemoryBudget(64 * GIB, 2 * GIB).pool(lambda: None)
    pool.lanes = 1
    assert pool.allowance(GIB) == 5 * GIB


def test_inspections_never_wait_for_conversions(pools: tuple[MemoryPool, MemoryPool]) -> None:
    """However large the files of conversions are, one small inspection fits beside them."""
    converters, inspectors = pools
    allowance = converters.allowance(100 * GIB)
    assert allowance == 12 * GIB
    converters.take(allowance)
    assert not converters.fits(1)
    assert inspectors.fits(inspectors.allowance(0))


def test_a_release_is_told_to_all_pools() -> None:
    """A job that waits for memory goes on when a job of another pool has ended."""
    told: list[str] = []
    budget = MemoryBudget(16 * GIB, GIB)
    first, _ = (budget.pool(partial(told.append, name)) for name in "ab")
    first.take(GIB)
    first.give_back(GIB)
    assert (told, budget.taken_bytes) == (["a", "b"], 0)
