"""Prometheus' own checks, where promtool is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

_PLACES = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


def find() -> str | None:
    """Return the program, if there is one: that of `make promtool`, or the system's."""
    return shutil.which("promtool", path=_PLACES)


def promtool(*arguments: str | Path, given: str = "") -> str:
    """Run it, and return what it prints; it must succeed."""
    program = find()
    assert program is not None
    done = subprocess.run(
        [program, *arguments], input=given, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
