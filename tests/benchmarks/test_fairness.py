"""The benchmark of fairness, with a fake task."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from benchmarks import fairness
from benchmarks.fairness import judge, measure
from tests.service.running import start, wait_for

KEYS = {"busy": "key-of-busy", "other": "key-of-other"}


def test_a_wait_is_the_time_beyond_that_of_the_idle_service() -> None:
    """In seconds, and in multiples of a long job; never below zero."""
    found = judge(long_s=[1.0, 2.0, 9.0], alone_s=[0.1, 0.2, 0.3], taken_s=[0.1, 1.2, 3.2])
    assert found["waits_s"] == [0.0, 1.0, 3.0]
    assert (found["median_wait_s"], found["worst_wait_s"]) == (1.0, 3.0)
    assert (found["long_s"], found["long_jobs_waited"], found["passed"]) == (2.0, 1.5, True)


def test_the_worst_wait_decides() -> None:
    """One small job that waited for two long ones is too many."""
    assert not judge(long_s=[1.0], alone_s=[0.0], taken_s=[0.0, 0.0, 0.0, 2.0])["passed"]


def test_long_jobs_stay_in_the_service_until_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small jobs are answered beside them; afterwards none of the long ones is left."""
    monkeypatch.setattr(fairness, "LONG_JOBS", 3)
    keyfile = tmp_path / "keys"
    keyfile.touch(mode=0o600)
    keyfile.write_text("".join(f"{name}:{key}\n" for name, key in KEYS.items()))
    service = start(tmp_path, api_keys_file=keyfile)
    try:
        service.wait_until_ready()
        found = asyncio.run(measure(service.url, KEYS, b"sleeps 0.02", b"small", samples=2))
        wait_for(lambda: not service.files())
    finally:
        service.stop()
    assert len(found["waits_s"]) == 2
    assert found["long_s"] >= 0.02  # the task sleeps so long


def test_a_refusal_ends_the_measurement(tmp_path: Path) -> None:
    """Fewer long jobs than sixteen would show nothing."""
    keyfile = tmp_path / "keys"
    keyfile.touch(mode=0o600)
    keyfile.write_text("".join(f"{name}:{key}\n" for name, key in KEYS.items()))
    service = start(tmp_path, api_keys_file=keyfile, jobs_per_key=2)
    try:
        service.wait_until_ready()
        with pytest.raises(ExceptionGroup, match="unhandled errors"):
            asyncio.run(measure(service.url, KEYS, b"sleeps 0.2", b"small", samples=20))
    finally:
        service.stop()
