"""`make setup`, with a Python and a pip that only say what they would do."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PYTHON = """#!/bin/sh
mkdir -p "$3/bin"
cat > "$3/bin/python" <<'END'
#!/bin/sh
echo "pip was given: $*"
echo "ERROR: no matching distribution" >&2
exit $PIP_STATUS
END
chmod +x "$3/bin/python"
"""

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="no make on this machine")


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    """Return `make setup` for an environment of its own."""
    python = tmp_path / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    return ["make", "-C", str(ROOT), "setup", f"PYTHON={python}", f"VENV={tmp_path / 'venv'}"]


def test_a_log_gets_a_line_and_no_progress(command: list[str], tmp_path: Path) -> None:
    """It says how much is downloaded; pip is quiet."""
    done = run(command, status=0)
    assert "0.2 GB for the CPU build, 2.7 GB with CUDA" in done.stdout
    assert "--quiet" in given_to_pip(done.stdout)
    assert f"Everything is in {tmp_path / 'venv'}." in done.stdout


def test_a_terminal_gets_the_progress_of_pip(command: list[str]) -> None:
    """Pip shows what it downloads, and how far it is."""
    ours, theirs = pty.openpty()
    done = subprocess.run(
        command, env={**os.environ, "PIP_STATUS": "0"}, stdout=subprocess.PIPE, stderr=theirs,
        text=True, check=True,
    )  # fmt: skip
    os.close(theirs)
    os.close(ours)
    assert "--quiet" not in given_to_pip(done.stdout)


def test_a_failing_pip_shows_its_error(command: list[str], tmp_path: Path) -> None:
    """Setup then fails too, and the next one tries again."""
    done = run(command, status=1)
    assert done.returncode
    assert "ERROR: no matching distribution" in done.stderr
    assert "Everything is in" not in done.stdout
    assert run(command, status=0).returncode == 0
    assert "pip was given" not in run(command, status=0).stdout


def run(command: list[str], *, status: int) -> subprocess.CompletedProcess[str]:
    """Run the command; pip ends with this status."""
    environment = {**os.environ, "PIP_STATUS": str(status)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def given_to_pip(printed: str) -> str:
    """Return the arguments of pip."""
    [line] = [line for line in printed.splitlines() if line.startswith("pip was given: ")]
    return line
