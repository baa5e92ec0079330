"""How OpenMP's threads wait, told by OpenMP itself as it is loaded."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ASLEEP = 0
VERBS = {
    "the command line": ["-m", "convlast", "inspect"],
    "the library": ["-c", "import sys, convlast; convlast.inspect(sys.argv[1])"],
}


@pytest.fixture(autouse=True)
def undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests has not said how threads wait, and OpenMP tells how they do."""
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    monkeypatch.setenv("OMP_DISPLAY_ENV", "VERBOSE")


def spins_of(caller: str, folder: Path) -> int:
    """Inspect a checkpoint in a process; return how often its threads look before they sleep."""
    path = folder / "model.pt"
    torch.save(torch.nn.Conv3d(2, 2, 1).state_dict(), path)
    done = subprocess.run(
        [sys.executable, *VERBS[caller], str(path)], capture_output=True, text=True, check=True
    )
    told = re.search(r"GOMP_SPINCOUNT = '(\d+)'", done.stderr)
    if told is None:
        pytest.skip("PyTorch does not have GNU's OpenMP here")
    return int(told[1])


def test_the_command_line_waits_asleep(tmp_path: Path) -> None:
    """It does not spin where another process has work for the core."""
    assert spins_of("the command line", tmp_path) == ASLEEP


def test_what_the_user_has_set_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has the machine alone may spin."""
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert spins_of("the command line", tmp_path) > ASLEEP


def test_the_library_leaves_it_to_its_caller(tmp_path: Path) -> None:
    """The process is not its own."""
    assert spins_of("the library", tmp_path) > ASLEEP
    assert "OMP_WAIT_POLICY" not in os.environ
