"""The rules that are the same for all workers, prepared by the process that forks them."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.service.running import ROOT
from tests.service.sandbox.sandboxed import needs_landlock

SCRIPT = """
import json, os, sys, sysconfig, tempfile
from pathlib import Path
from service import sandbox
from service.sandbox import landlock

def paths():
    links = (f"/proc/self/fd/{each}" for each in os.listdir("/proc/self/fd"))
    return {os.readlink(link) for link in links if os.path.lexists(link)}

library = sysconfig.get_path("stdlib")
others = [Path(tempfile.mkdtemp()) for _ in range(2)]
for folder in others:
    for name in ("work", "input"):
        (folder / name).mkdir()
        (folder / name / "secret").write_text("secret")
sandbox.prepare()
prepared = len(landlock.prepared())

def tried(path):
    try:
        return Path(path).read_text()[:6]
    except OSError as error:
        return type(error).__name__

def changed(path):
    try:
        return Path(path).write_text("change")
    except OSError as error:
        return type(error).__name__

told = []
for own, other in (others, reversed(others)):
    read, out = os.pipe()
    if os.fork() == 0:
        walls = landlock.close_files(own / "work", own / "input")
        result = {
            "held": [wall.held for wall in walls],
            "own": [tried(own / "work" / "secret"), changed(own / "work" / "new")],
            "input": [tried(own / "input" / "secret"), changed(own / "input" / "secret")],
            "made": changed(own / "input" / "new"),
            "other": [tried(other / name / "secret") for name in ("work", "input")],
            "library": library in paths() or len(tried(f"{library}/json/__init__.py")),
            "self": "VmPTE" in Path("/proc/self/status").read_text(),
            "open": sorted(path for path in paths() if path == library),
            "left": len(landlock.prepared()),
        }
        os.write(out, json.dumps(result).encode())
        os._exit(0)
    os.wait()
    told.append(json.loads(os.read(read, 10_000)))
print(json.dumps({"prepared": prepared, "kept": len(landlock.prepared()), "children": told}))
"""


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    """Prepare the rules in one process, and restrict two of its children."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@needs_landlock
def test_each_worker_has_its_own_folder_alone(told: dict[str, Any]) -> None:
    """Workers share the descriptors of libraries, not the rules: neither reaches the other."""
    for child in told["children"]:
        assert child["held"] == [True, True]
        assert child["own"] == ["secret", 6]
        assert child["other"] == ["PermissionError"] * 2
        assert child["library"] == 6
        assert child["self"]


@needs_landlock
def test_the_input_of_a_worker_can_only_be_read(told: dict[str, Any]) -> None:
    """No file in the folder of the input is changed, and none is made there."""
    for child in told["children"]:
        assert child["input"] == ["secret", "PermissionError"]
        assert child["made"] == "PermissionError"


@needs_landlock
def test_a_worker_closes_what_was_prepared(told: dict[str, Any]) -> None:
    """No prepared descriptor stays open in a worker; the process that forks keeps all."""
    assert told["prepared"] == told["kept"] > 10
    for child in told["children"]:
        assert (child["open"], child["left"]) == ([], 0)


def test_without_landlock_the_descriptors_are_closed_too() -> None:
    """A kernel that refuses the rules leaves no descriptor open."""
    script = """
import tempfile
from pathlib import Path
from service.sandbox import landlock

def refuse(*_):
    raise OSError(95, "Operation not supported")

landlock.prepare()
landlock.call = refuse
walls = landlock.close_files(*[Path(tempfile.mkdtemp()) for _ in range(2)])
assert not any(wall.held for wall in walls)
assert not landlock.prepared()
"""
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)
