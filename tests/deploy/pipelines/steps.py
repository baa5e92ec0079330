"""Runs the step of a pipeline, with the code of this checkout."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.service.running import ROOT

FOLDER = ROOT / "deploy" / "pipelines"
SCRIPT = FOLDER / "convert.sh"
PLAYED = Path(__file__).with_name("played_convlast.py")
"""A `convlast` that converts nothing, at once, and writes down how it was called."""


def programs(folder: Path, convlast: str = "-m convlast") -> Path:
    """Make a folder with `convlast`, and with the step as the image has it.

    Args:
        folder: Where it is made.
        convlast: What Python is to run as `convlast`.
    """
    made = folder / "bin"
    made.mkdir()
    program = made / "convlast"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P {convlast} "$@"\n')
    program.chmod(0o755)
    (made / "convlast-step").symlink_to(SCRIPT)
    return made


def environment(found: Path, **more: str) -> dict[str, str]:
    """Return the environment of a step, which finds the programs in a folder."""
    path = f"{found}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), **more}


def run(
    command: list[str], cwd: Path, env: dict[str, str], status: int = 0
) -> subprocess.CompletedProcess[str]:
    """Run a command, which has to end with this status."""
    done = subprocess.run(
        command, cwd=cwd, env=env, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == status, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


def step(cwd: Path, env: dict[str, str], *arguments: str, status: int = 0) -> str:
    """Run the script in a folder, and return what it says on stderr."""
    return run(["sh", str(SCRIPT), *arguments], cwd, env, status).stderr
