from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import httpx

from tests.service.running import FAKE, ROOT, Serve


def test_a_terminal_is_told_the_address(tmp_path: Path) -> None:
    """With `CONVLAST_PORT=0` it is the port that the system chose."""
    ours, theirs = pty.openpty()
    variables = {"CONVLAST_PORT": "0", "CONVLAST_WORK_DIR": str(tmp_path / "work")}
    service = subprocess.Popen(
        [sys.executable, "-m", FAKE], cwd=ROOT, env={**os.environ, **variables}, stderr=theirs
    )
    os.close(theirs)
    try:
        told = ""
        while "cat out.zip" not in told:
            told += os.read(ours, 4096).decode()
        [url] = set(re.findall(r"http://127\.0\.0\.1:\d+", told))
        assert f" {url}/convert || cat out.zip" in told
        assert httpx.get(f"{url}/livez", trust_env=False).status_code == 200
    finally:
        service.terminate()
        service.wait(60)
        os.close(ours)


def test_a_log_has_no_greeting(serve: Serve) -> None:
    """Where stderr is a file, each line is JSON."""
    assert all(line.startswith("{") for line in serve().log.read_text().splitlines())
