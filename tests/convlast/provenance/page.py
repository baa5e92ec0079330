"""The blocks of docs/provenance.md, to be run as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "provenance.md").read_text()


def block_with(words: str) -> str:
    """Return the only block of code that contains some words."""
    blocks: list[str] = re.findall(r"```\w+\n(.*?)```", PAGE, re.DOTALL)
    (found,) = (block for block in blocks if words in block)
    return found


def run_in(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run a block of shell in a folder, where `convlast` and `model_signing` are commands."""
    commands = folder / "bin"
    commands.mkdir(exist_ok=True)
    for name in ("convlast", "model_signing"):
        command = commands / name
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m {name} "$@"\n')
        command.chmod(0o700)
    # Make names the packages of the recipes by a relative path.
    packages = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    environment = {
        **os.environ,
        "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([str(ROOT), *map(os.path.abspath, packages)]),
    }
    command_line = ["bash", "-euc", script]
    return subprocess.run(
        command_line, cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
