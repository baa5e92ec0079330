"""`docker compose up`, as a user does it."""

from __future__ import annotations

import io
import json
import re
import textwrap
import zipfile
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from torch import nn

import convlast
from convlast.report import Report
from convlast.report.rendering import html
from service.settings import Settings
from tests.container.deployment import CPU, GPU, KEYS, REVISION, Deployment
from tests.container.engine import ROOT, Engine

pytestmark = pytest.mark.container

REAL = ["gnina_dense.pt", "hippodeep.pt", "physnet.pth"]
WALLS = {
    *("environment", "descriptors", "privileges", "limits"),
    *("files", "truncation", "dumps", "calls"),
}
FIND_WRITABLE = """
import os, pathlib, stat
kept_by_the_kernel = ("/proc", "/sys")
for folder, folders, files in os.walk("/"):
    folders[:] = [each for each in folders if os.path.join(folder, each) not in kept_by_the_kernel]
    for path in (folder, *(os.path.join(folder, each) for each in files)):
        mode = os.lstat(path).st_mode
        if (stat.S_ISDIR(mode) or stat.S_ISREG(mode)) and os.access(path, os.W_OK):
            print(path)
"""


@pytest.mark.parametrize("files", [GPU, CPU])
def test_the_compose_files_are_read_without_any_variable(
    files: tuple[str, ...], engine: Engine
) -> None:
    """They need nothing set, and give the service settings that it knows."""
    service = Deployment(engine, files).config()
    settings = Settings.from_environment(service["environment"] | {"NVIDIA_VISIBLE_DEVICES": ""})
    grace_s = float(service["stop_grace_period"].removesuffix("m0s")) * 60
    assert settings.drain_timeout_s < grace_s
    assert service["ports"][0]["host_ip"] == "127.0.0.1"
    assert ("deploy" in service) == (files == GPU)
    assert settings.device == ("cuda" if files == GPU else "cpu")


def test_settings_come_from_a_file(engine: Engine, tmp_path: Path) -> None:
    """A file of settings reaches the service, and wins over the defaults, not over the port."""
    mine = tmp_path / "convlast.env"
    mine.write_text("CONVLAST_DEVICE=cuda:1\nCONVLAST_QUEUE_SIZE=7\nCONVLAST_PORT=1\n")
    environment = Deployment(engine, GPU, {"ENV_FILE": str(mine)}).config()["environment"]
    settings = Settings.from_environment(environment)
    assert (settings.device, settings.queue_size, settings.port) == ("cuda:1", 7, 8000)
    assert settings.allow_anonymous


def test_gpus_can_be_chosen(engine: Engine, tmp_path: Path) -> None:
    """GPUS is their number, and the file of docs/container.md names some."""
    (devices,) = devices_of(Deployment(engine, GPU, {"GPUS": "all"}))
    assert devices["count"] == -1
    text = (ROOT / "docs" / "container.md").read_text()
    (shown,) = re.findall(r"```yaml\n(.*?device_ids.*?)```", text, re.DOTALL)
    chosen = tmp_path / "gpus.yml"
    chosen.write_text(textwrap.dedent(shown))
    (devices,) = devices_of(Deployment(engine, (*GPU, str(chosen))))
    assert devices["device_ids"] == ["0", "2"]
    assert not devices.get("count")


def devices_of(deployment: Deployment) -> list[dict[str, Any]]:
    """Return the reserved devices."""
    devices: list[dict[str, Any]] = deployment.config()["deploy"]["resources"]["reservations"][
        "devices"
    ]
    return devices


def test_one_gpu_is_reserved(engine: Engine) -> None:
    """The file without another one asks for a GPU of NVIDIA's."""
    service = Deployment(engine, GPU).config()
    (device,) = service["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["count"], device["capabilities"]) == ("nvidia", 1, ["gpu"])


def test_the_service_is_ready_and_behind_all_walls(service: Deployment) -> None:
    """Under the engine's default profile each wall of the sandbox stands, and /readyz says so."""
    checks = service.ready()["checks"]
    for workers in ("converters", "inspectors"):
        walls = {wall["name"]: wall for wall in checks[workers]["walls"]}
        assert set(walls) == WALLS
        assert all(wall["held"] for wall in walls.values()), walls
    assert checks["warnings"] == []
    assert service.inspect()["State"]["Health"]["Status"] == "healthy"


def test_the_service_knows_its_commit(service: Deployment) -> None:
    """/version and the first line of the log have the revision that the image was built with."""
    with service.client() as client:
        assert client.get("/version").json()["revision"] == REVISION
    lines = service.engine.docker("logs", service.container, check=False).splitlines()
    assert json.loads(lines[0])["revision"] == REVISION


def test_its_processes_have_no_privilege(service: Deployment) -> None:
    """Each runs as user 10001, without a capability, behind the engine's filter of calls."""
    script = (
        "import pathlib\nfor p in pathlib.Path('/proc').glob('[0-9]*/status'): print(p.read_text())"
    )
    statuses = service.inside(script).split("\n\n")
    assert len(statuses) > 4
    for status in filter(None, statuses):
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert set(fields["Uid"].split()) == {"10001"}
        assert int(fields["CapPrm"], 16) == int(fields["CapBnd"], 16) == 0
        assert fields["NoNewPrivs"] == "1"
        assert fields["Seccomp"] == "2"


def test_nothing_can_be_written_but_the_work_folder(service: Deployment) -> None:
    """Its user finds no other folder or file that it may write to."""
    writable = service.inside(FIND_WRITABLE).splitlines()
    assert writable
    assert [path for path in writable if not path.startswith("/var/lib/convlast")] == []
    assert service.inspect()["HostConfig"]["ReadonlyRootfs"] is True


def test_memory_and_processes_are_bounded(service: Deployment) -> None:
    """The engine has the limits of the compose file."""
    host = service.inspect()["HostConfig"]
    assert (host["Memory"], host["PidsLimit"]) == (16 << 30, 8192)


def convert_and_verify(service: Deployment, source: Path, folder: Path) -> Report:
    """Send a checkpoint, and prove the artifact out here; give its report."""
    with service.client() as client, source.open("rb") as file:
        answer = client.post("/convert", files={"checkpoint": (source.name, file)})
    assert answer.status_code == 200, answer.text
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        archive.extractall(folder)
    report = Report.model_validate_json((folder / "report.json").read_bytes())
    assert report.artifact is not None
    assert (folder / "report.html").read_text() == html.render(report)
    proof = convlast.verify(source, folder / str(report.artifact.filename))
    assert proof.verdict in {"passed", "passed_with_findings"}
    return report


def test_a_checkpoint_is_converted(service: Deployment, tmp_path: Path) -> None:
    """What comes through the published port is verified outside the container."""
    source = tmp_path / "model.pt"
    torch.save(nn.Sequential(nn.Conv3d(2, 4, 3), nn.BatchNorm3d(4)).state_dict(), source)
    report = convert_and_verify(service, source, tmp_path / "answer")
    assert [layer.status for layer in report.layers] == ["converted"]
    assert not {name for name in service.files_at_work() if name.startswith(("jobs/", "workers/"))}


@pytest.mark.shared
@pytest.mark.parametrize("name", REAL)
def test_a_real_checkpoint_is_converted(
    name: str, service: Deployment, shared_checkpoints: Path, tmp_path: Path
) -> None:
    """So are checkpoints that others wrote."""
    report = convert_and_verify(service, shared_checkpoints / name, tmp_path)
    assert any(layer.status == "converted" for layer in report.layers)


def test_each_request_is_a_line_of_json_in_the_log(service: Deployment) -> None:
    """The log of the container says what was answered, and holds no warning of Python's."""
    answer = service.convert(b"no checkpoint")
    request_id = answer.headers["X-Request-ID"]
    lines = service.engine.docker("logs", service.container, check=False).splitlines()
    entries = [json.loads(line) for line in lines]
    about = [each for each in entries if each.get("request_id") == request_id]
    assert [each["event"] for each in about] == ["job begins", "job ended", "answered"]
    assert (about[-1]["status"], about[-1]["code"]) == (422, answer.json()["code"])


def test_keys_cannot_be_forgotten(engine: Engine) -> None:
    """The file with keys says what is missing, rather than serve everyone."""
    said = Deployment(engine, KEYS).compose("config", check=False)
    assert "API_KEYS_FILE" in said
    assert "user 10001 can read" in said


def test_the_publication_is_on_loopback(service: Deployment) -> None:
    """No other address of this machine is bound."""
    ports = service.inspect()["NetworkSettings"]["Ports"]
    assert [each["HostIp"] for each in ports["8000/tcp"]] == ["127.0.0.1"]
    assert httpx.get(f"{service.url}/livez", trust_env=False).status_code == 200
