"""The lines of curl on the page at `/docs` do what they say."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from service.app import create_app
from service.routes.examples import CURL
from service.settings import Settings
from tests.service.running import Running


def test_each_operation_has_an_example(tmp_path: Path) -> None:
    """There is one for each operation of the document, and none for another."""
    app = create_app(Settings(work_dir=tmp_path))
    app.state.context.workspace.close()
    paths: dict[str, dict[str, Any]] = app.openapi()["paths"]
    operations = {(method.upper(), path) for path, found in paths.items() for method in found}
    assert set(CURL) == operations


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
@pytest.mark.parametrize("operation", CURL)
def test_an_example_works(service: Running, tmp_path: Path, operation: tuple[str, str]) -> None:
    """The shell runs it, and the service does not refuse it."""
    ids = []
    for name in ("one", "other"):
        content = f"fine {name} {operation}".encode()
        answer = service.convert(content, headers={"Accept": "application/json"}).json()
        ids.append(answer["links"]["report"].split("/")[2])
    (tmp_path / "model.pt").write_bytes(b"fine")
    begin = (
        f"url={service.url} id={ids[0]} other={ids[1]}\n"
        'set -e\ncurl() { case "$*" in *--fail*) ;; *) set -- --fail "$@" ;; esac\n'
        'command curl -sS "$@"; }\n'
    )
    done = subprocess.run(
        ["sh", "-c", begin + CURL[operation]],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
