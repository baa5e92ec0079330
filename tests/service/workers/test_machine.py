from __future__ import annotations

from pathlib import Path

import pytest

from service.workers import machine


@pytest.fixture
def cgroups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Replace the folder of all cgroups."""
    monkeypatch.setattr(machine, "_CGROUPS", tmp_path)
    return tmp_path


def test_a_container_has_what_its_cgroup_has(cgroups: Path) -> None:
    """Limits of a cgroup count if they are lower than the machine's."""
    whole = machine.memory_bytes()
    (cgroups / "memory.max").write_text("max\n")
    (cgroups / "cpu.max").write_text("max 100000\n")
    assert machine.memory_bytes() == whole
    assert machine.cores() >= 1
    (cgroups / "memory.max").write_text("1048576\n")
    (cgroups / "cpu.max").write_text("50000 100000\n")
    assert machine.memory_bytes() == 1 << 20
    assert machine.default_memory_bytes() == 838860
    assert machine.cores() == 1


@pytest.mark.parametrize(
    ("cores", "workers", "threads"), [(1, 2, None), (2, 2, 2), (8, 4, 2), (64, 16, 4)]
)
def test_the_cores_are_shared(
    monkeypatch: pytest.MonkeyPatch, cores: int, workers: int, threads: int | None
) -> None:
    """Half the cores are workers, within bounds; each has two threads or more if it can."""
    monkeypatch.setattr(machine, "cores", lambda: cores)
    assert machine.default_workers() == workers
    assert machine.threads_of_each(workers) == threads
