from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.service.running import REAL, Serve

CONFIGURATION = Path(__file__).with_name("schemathesis.toml")


def test_schemathesis_finds_nothing(serve: Serve) -> None:
    """Generated requests are answered as the OpenAPI document says."""
    service = serve(REAL)
    command = [Path(sys.executable).with_name("schemathesis"), "--config-file", CONFIGURATION]
    arguments = ["run", f"{service.url}/openapi.json", "--max-examples", "40", "--seed", "1"]

    done = subprocess.run(
        [*map(str, command), *arguments], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
