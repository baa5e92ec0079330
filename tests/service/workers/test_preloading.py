from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from service.workers import preloading
from service.workers.preloading import gpus_hidden, preload

ROOT = Path(__file__).parents[3]

FOR_EACH_KIND = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for package in ("checkpoints", "containers", "writing")
    for path in (ROOT / "convlast" / package).rglob("[!_]*.py")
)

FORK_SERVER_AND_WORKER = """
import json, os, sys, tempfile
from pathlib import Path
import numpy, torch

def threads():
    return len(os.listdir("/proc/self/task"))

asked = []
for name in ("is_available", "device_count", "_lazy_init", "current_device", "get_rng_state"):
    setattr(torch.cuda, name, lambda *_, name=name: asked.append(name) or 0)
before = threads()
FOR_EACH_KIND = {kinds!r}
from service.workers import conversion, rehearsal, freezing
from service.workers.messages import LocalJob
told = {"asked": list(asked), "threads": threads() - before}

from convlast.progress import silent
inherited = set(sys.modules)
conversion.warm("cpu")
with tempfile.TemporaryDirectory() as folder:
    source = Path(folder, "upload")
    torch.save(torch.nn.Conv3d(2, 4, 3).state_dict(), source)
    job = LocalJob(id="1", verb="convert", source=source, folder=Path(folder), filename="m.pt")
    told["verdict"] = conversion.run(job, "cpu", silent).verdict
told["kinds"] = [name for name in FOR_EACH_KIND if name not in inherited]
print(json.dumps({**told, "imported": sorted(set(sys.modules) - inherited)}))
"""


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    """Import in one process as the fork server does, and then as a worker does."""
    done = subprocess.run(
        [sys.executable, "-c", FORK_SERVER_AND_WORKER.replace("{kinds!r}", repr(FOR_EACH_KIND))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_a_default_conversion_imports_nothing(told: dict[str, Any]) -> None:
    """A default conversion imports nothing that was not imported before the fork."""
    assert (told["verdict"], told["imported"]) == ("passed", [])


def test_a_conversion_of_any_kind_of_file_imports_nothing(told: dict[str, Any]) -> None:
    """The readers and writers of all kinds are there, which the library imports late."""
    assert FOR_EACH_KIND
    assert told["kinds"] == []


def test_the_fork_server_starts_no_thread(told: dict[str, Any]) -> None:
    """The fork server has one thread; OpenMP in a worker would wait for others for ever."""
    # OpenBLAS, which NumPy brings, ends its own threads at a fork.
    assert told["threads"] <= 0


def test_the_fork_server_asks_for_no_gpu(told: dict[str, Any]) -> None:
    """The fork server does not start CUDA, which would not work after a fork."""
    assert told["asked"] == []


def test_a_module_that_asks_for_gpus_hears_of_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """GPUs are hidden while modules are imported, and visible afterwards."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with gpus_hidden():
        assert not torch.cuda.is_available()
    assert torch.cuda.is_available()


def test_a_module_that_this_pytorch_lacks_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that this version of PyTorch lacks is skipped."""
    monkeypatch.setattr(preloading, "MODULES", ("torch.export._no_such_module", "colorsys"))
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    preload()
    assert "colorsys" in sys.modules
