from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.container.engine import ROOT

HADOLINT = Path(sys.executable).with_name("hadolint")


def test_the_dockerfile_has_no_smell() -> None:
    """Hadolint finds nothing."""
    done = subprocess.run([HADOLINT, ROOT / "Dockerfile"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_all_that_the_build_takes_is_let_in() -> None:
    """Each folder and file that the Dockerfile copies or mounts passes .dockerignore."""
    let_in = (ROOT / ".dockerignore").read_text().split()
    for name in ("deploy/image", "convlast", "service", "pyproject.toml", "README.md"):
        assert f"!{name}" in let_in
    assert let_in[0] == "*"


def test_the_readme_names_files_that_there_are() -> None:
    """Each compose file of its commands is there."""
    files = set(re.findall(r"-f (\S+\.yml)", (ROOT / "README.md").read_text()))
    assert {"docker-compose.cpu.yml", "docker-compose.keys.yml"} <= files
    assert all((ROOT / each).is_file() for each in files)
