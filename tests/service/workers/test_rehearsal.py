from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from convlast.errors import OutOfMemoryError
from service.workers import conversion

ROOT = Path(__file__).parents[3]

FORK_SERVER_AND_CHILD = """
import json, os, signal, sys
import numpy, torch

def threads():
    return len(os.listdir("/proc/self/task"))

def convolved():
    torch.manual_seed(0)
    return torch.nn.functional.conv3d(torch.randn(2, 16, 24, 24, 24), torch.randn(16, 16, 3, 3, 3))

def summed():
    return torch.arange(1 << 22).sum().item()

asked = []
for name in ("is_available", "device_count", "_lazy_init", "current_device", "get_rng_state"):
    setattr(torch.cuda, name, lambda *_, name=name: asked.append(name) or 0)
before, wanted = threads(), torch.get_num_threads()
from service.workers import conversion
{rehearse}
told = {{"asked": asked, "threads": threads() - before}}
told["wanted"] = torch.get_num_threads() == wanted

read, write = os.pipe()
if os.fork() == 0:
    signal.alarm({hang_s})  # a hang in OpenMP cannot be interrupted by Python
    alone = threads()
    conversion.warm("cpu", 2)
    warmed = threads()
    total, volume = summed(), convolved()
    pool = threads()
    torch.set_num_threads(1)
    is_right = torch.allclose(volume, convolved(), atol=1e-4)
    is_right &= total == (1 << 21) * ((1 << 22) - 1)
    os.write(write, json.dumps([alone, warmed, pool, is_right]).encode())
    os._exit(0)
os.close(write)
_, status = os.wait()
told["child"] = json.loads(os.read(read, 100) or "null")
told["signal"] = os.WTERMSIG(status)
print(json.dumps(told))
"""


def fork_server_and_child(rehearse: str, *, hang_s: int = 60) -> dict[str, Any]:
    """Do in one process what the fork server does, and fork a child that computes."""
    done = subprocess.run(
        [sys.executable, "-c", FORK_SERVER_AND_CHILD.format(rehearse=rehearse, hang_s=hang_s)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    """Rehearse in a process of its own, with a smoke, and fork a child from it."""
    return fork_server_and_child("conversion.rehearse(fully=True)")


def test_the_fork_server_has_no_pool_of_threads(told: dict[str, Any]) -> None:
    """A rehearsal, even of a smoke, leaves the fork server with the threads that it had."""
    # OpenBLAS, which NumPy brings, ends its own threads at a fork.
    assert told["threads"] <= 0
    assert told["wanted"]


def test_a_child_can_use_its_threads(told: dict[str, Any]) -> None:
    """A child begins with one thread, computes with two, and the results are right."""
    assert told["signal"] == 0, "the child hung"
    alone, warmed, pool, is_right = told["child"]
    assert alone == warmed == 1
    assert pool >= 2
    assert is_right


def test_a_child_of_a_process_with_a_pool_hangs() -> None:
    """This is what the two tests above guard: without it, the rehearsal could use threads."""
    told = fork_server_and_child("torch.set_num_threads(2); convolved(); summed()", hang_s=8)
    if told["threads"] == 0:
        pytest.skip("this PyTorch starts no thread for these")
    assert told["signal"] or not told["child"][3], "GNU's OpenMP survives a fork here"


def test_a_rehearsal_asks_for_no_gpu(told: dict[str, Any]) -> None:
    """CUDA would not work after a fork."""
    assert told["asked"] == []


def test_after_a_rehearsal_a_worker_only_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker whose fork server has rehearsed is warm at once; another converts first."""
    converted: list[str] = []
    monkeypatch.setattr(
        conversion, "_convert_a_small_one", lambda device, _: converted.append(device)
    )
    monkeypatch.setattr(conversion, "_rehearsed_on", {"cpu"})
    assert conversion.warm("cpu")["device"] == "cpu"
    assert converted == []
    monkeypatch.setattr(conversion, "_rehearsed_on", set())
    conversion.warm("cpu")
    assert converted == ["cpu"]


def test_a_rehearsal_that_fails_leaves_it_to_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fork server goes on, and each worker says what is wrong."""

    def fail(*_: object) -> None:
        raise OutOfMemoryError("There is no memory.")

    rehearsed: set[str] = set()
    monkeypatch.setattr(conversion, "_convert_a_small_one", fail)
    monkeypatch.setattr(conversion, "_rehearsed_on", rehearsed)
    monkeypatch.delitem(sys.modules, "service.workers.rehearsal", raising=False)
    __import__("service.workers.rehearsal")
    assert rehearsed == set()
