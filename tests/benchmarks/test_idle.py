"""The benchmark of idle memory, with a fake task."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from benchmarks import idle
from benchmarks.idle import memory_of, steady, times_one
from tests.service.running import start


def test_each_process_is_counted_once(tmp_path: Path) -> None:
    """As the service, as its fork server, or as a worker; together they are all."""
    service = start(tmp_path)
    try:
        service.wait_until_ready()
        found = memory_of(service)
    finally:
        service.stop()
    parts = [found[name] for name in ("service", "fork_server", "workers")]
    assert all(kib > 1024 for kib in parts)
    assert found["all"] == sum(parts)


def test_memory_is_read_once_it_no_longer_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that are still warming up would be missed."""
    amounts = iter([100, 100, 200, 200, 300, *[301] * 1000])
    monkeypatch.setattr(idle, "STEADY_S", 2.0)
    assert steady(lambda: Counter(all=next(amounts)))["all"] == 301


def test_memory_that_never_settles_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A figure of that would mean nothing."""
    amounts = iter(range(100, 10**6, 100))
    monkeypatch.setattr(idle, "WITHIN_S", 0.5)
    with pytest.raises(SystemExit, match="still changed"):
        steady(lambda: Counter(all=next(amounts)))


def test_two_warm_workers_are_compared_with_one() -> None:
    """If both were measured."""
    one, two = ({"warm_workers": n, "mib": {"all": mib}} for n, mib in ((1, 500.0), (2, 600.0)))
    assert times_one([two, one]) == 1.2
    assert times_one([one]) is None
    assert times_one([{"warm_workers": None, "mib": {"all": 500.0}}]) is None
