from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from convlast.client import Client
from convlast.errors import ConvlastError
from tests.conftest import SHARED_CHECKPOINTS
from tests.service.running import REAL, Running, start

pytestmark = pytest.mark.shared

REFUSED = {
    "gnina_default2017_torchscript.pt": "program-not-allowed",
    "lua_torch.t7": "not-a-checkpoint",
    "topaz_2d_only.sav": "no-conv3d-weights",
}
"""The code of each file that is refused; all others are converted."""

FILES = sorted(path for path in SHARED_CHECKPOINTS.glob("*") if path.suffix != ".md")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Run the service as `make serve` does."""
    running = start(tmp_path_factory.mktemp("service"), REAL)
    running.wait_until_ready()
    yield running
    running.stop()


def send_with_curl(path: Path, service: Running) -> tuple[int, bytes]:
    """Post a file as in the README, and return status and body."""
    command = ["curl", "-sS", "-w", "%{stderr}%{http_code}", "-F", f"checkpoint=@{path}"]
    done = subprocess.run([*command, f"{service.url}/convert"], capture_output=True, check=True)
    return int(done.stderr), done.stdout


def convert_with_the_command(path: Path, folder: Path) -> tuple[dict[str, Any], bytes]:
    """Convert a file on the command line, and return report and artifact."""
    command = [sys.executable, "-m", "convlast", "convert", str(path), "-o", str(folder), "--json"]
    done = subprocess.run(command, capture_output=True, check=True)
    (artifact,) = folder.iterdir()
    return json.loads(done.stdout), artifact.read_bytes()


def without_times_and_machine(report: dict[str, Any]) -> dict[str, Any]:
    """Return what two reports of one conversion must have in common."""
    own = {"seconds", "environment", "made_at", "job_id", "request_id"}
    return {key: value for key, value in report.items() if key not in own}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_real_checkpoint_gets_the_same_from_all_faces(
    path: Path, service: Running, tmp_path: Path
) -> None:
    """The service, by curl and client, and the command line give the same result or refusal."""
    status, body = send_with_curl(path, service)
    with Client(service.url) as client:
        if path.name in REFUSED:
            assert (status, json.loads(body)["code"]) == (422, REFUSED[path.name])
            with pytest.raises(ConvlastError) as caught:
                client.convert(path, tmp_path)
            assert caught.value.code == REFUSED[path.name]
            return
        (tmp_path / "fetched").mkdir()
        report = client.convert(path, tmp_path / "fetched").model_dump(mode="json")
    (tmp_path / "folder").mkdir()
    expected, artifact = convert_with_the_command(path, tmp_path / "folder")

    with zipfile.ZipFile(io.BytesIO(body)) as answer:
        assert answer.read(expected["artifact"]["filename"]) == artifact
        posted = json.loads(answer.read("report.json"))
    assert (tmp_path / "fetched" / expected["artifact"]["filename"]).read_bytes() == artifact
    assert without_times_and_machine(posted) == without_times_and_machine(expected)
    assert without_times_and_machine(report) == without_times_and_machine(expected)
