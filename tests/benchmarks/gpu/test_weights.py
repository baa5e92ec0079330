"""The bytes through the GPU, tried on a CPU."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest
import torch

from benchmarks.gpu import weights
from tests.subjects import CPU

CASES = {"tiny": (3, (4, 3, 2, 2, 2))}


def test_all_ways_pass_the_same_bytes() -> None:
    """Each has its time, and the bytes a second that this means."""
    found = weights.measure(CPU, 2, CASES)
    (case,) = found["results"]
    assert found["passed"]
    assert (case["bytes"], case["weights"]) == (3 * 4 * 3 * 8 * 4, 3)
    assert set(case["seconds"]) == {"pinned", "permuted", "converted", "cpu"}
    for way, seconds in case["seconds"].items():
        assert len(seconds["all"]) == 2
        assert case["bytes_per_s"][way] == case["bytes"] / seconds["median"]


def test_other_bytes_do_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that gives something else each time."""
    turns = iter(range(256))

    def permuted(
        jobs: Iterable[object], device: torch.device
    ) -> Iterator[tuple[memoryview, memoryview]]:
        for _ in jobs:
            yield memoryview(b""), memoryview(bytes([next(turns)]))

    monkeypatch.setattr(weights, "permute_all", permuted)
    assert not weights.measure(CPU, 1, CASES)["passed"]
