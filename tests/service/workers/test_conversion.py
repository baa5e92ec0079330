"""Real conversions through the service and through the library."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch

import convlast
from convlast.devices.compatibility import Device, troubles_of
from convlast.errors import DeviceLostError
from convlast.progress import silent
from convlast.report import Report
from service.workers import conversion
from service.workers.messages import LocalJob
from tests import fake_cuda
from tests.service.running import REAL, Running, served

VARYING = {"seconds", "environment", "timing", "made_at", "job_id", "request_id"}


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Run the service with convlast itself in its workers."""
    with served(tmp_path_factory.mktemp("real"), REAL, device="cpu") as running:
        yield running


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Save a small model."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv3d(3, 4, 3), torch.nn.Linear(4, 2))
    path = tmp_path / "model.pt"
    torch.save(model.state_dict(), path)
    return path


def strip(node: Any) -> Any:
    """Remove what differs between two runs: times, ids, machine, last digits."""
    if isinstance(node, dict):
        return {name: strip(value) for name, value in node.items() if name not in VARYING}
    if isinstance(node, list):
        return [strip(each) for each in node]
    return float(f"{node:.6g}") if isinstance(node, float) else node


def test_artifact_and_report_are_those_of_the_library(real: Running, checkpoint: Path) -> None:
    """The artifact is byte for byte that of `convlast.convert`."""
    answer = real.convert(checkpoint.read_bytes())
    assert answer.status_code == 200, answer.text
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        name = "m.channels_last_3d.pt"
        artifact = archive.read(name)
        report = json.loads(archive.read("report.json"))
        assert b"<html" in archive.read("report.html")
    source = checkpoint.with_name("m.pt")
    checkpoint.rename(source)
    target = checkpoint.with_name(name)
    expected = convlast.convert(source, target, device="cpu")
    assert artifact == target.read_bytes()
    assert strip(report) == strip(json.loads(expected.model_dump_json()))


def test_inspect_is_that_of_the_library(real: Running, checkpoint: Path) -> None:
    """The report names the layer that would be converted, without converting it."""
    with real.client() as client:
        files = {"checkpoint": ("m.pt", checkpoint.read_bytes())}
        report = Report.model_validate_json(client.post("/inspect", files=files).content)
    assert [layer.name for layer in report.layers] == ["0.weight"]
    assert report.artifact is None
    assert report.input.filename == "m.pt"


def test_a_real_report_has_the_ids_of_its_answer(real: Running, checkpoint: Path) -> None:
    """The worker writes those that the service gave it, and the time."""
    files = {"checkpoint": ("m.pt", checkpoint.read_bytes())}
    with real.client() as client:
        for path, accept in (("/inspect", "*/*"), ("/convert", "application/json")):
            answer = client.post(path, files=files, headers={"Accept": accept})
            report = answer.json()
            assert report["job_id"] == answer.headers["convlast-job"]
            assert report["request_id"] == answer.headers["x-request-id"]
            assert report["made_at"].endswith("Z")


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"\x89PNG\r\n\x1a\n" + bytes(100), "not-a-checkpoint"), (b"PK\x03\x04", None)],
)
def test_refusals_of_the_library_become_problems(
    real: Running, content: bytes, code: str | None
) -> None:
    """A refusal of the library is a 422 with its code and text."""
    answer = real.convert(content)
    assert answer.status_code == 422
    assert code is None or answer.json()["code"] == code


def test_versions_come_from_the_worker(real: Running) -> None:
    """The service reports torch's version without importing it."""
    with real.client() as client:
        assert client.get("/version").json()["torch"] == torch.__version__


def test_a_worker_tells_what_is_known_against_its_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker reports the known troubles of its GPU, with the cure; a CPU has none."""
    assert conversion.probe("cpu")["known_trouble"] == []
    old = Device("2.13.0", 92000, (6, 1))
    monkeypatch.setattr(conversion, "troubles_on", lambda device: list(troubles_of(old)))
    (told,) = conversion.probe("cpu")["known_trouble"]
    assert told.startswith("no-tensor-cores: This GPU has a compute capability below 7.0")
    assert "Keep your file for this GPU" in told


def test_a_worker_on_auto_tells_why_it_is_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """If there is a GPU that cannot be used, the service uses the CPU and reports why."""
    fake_cuda.install_broken(monkeypatch, fake_cuda.OLD_DRIVER)
    facts = conversion.probe("auto")
    assert facts["device"] == "cpu"
    (told,) = facts["known_trouble"]
    assert told.startswith("gpu-unusable: The CPU is used, because the GPU cannot be: The NVIDIA")
    fake_cuda.install_broken(monkeypatch, fake_cuda.NO_DRIVER)
    assert conversion.probe("auto")["known_trouble"] == []


def test_a_device_that_fails_at_a_probe_says_how(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message of the device's error is in `/readyz`."""

    def fail(*args: object, **settings: object) -> NoReturn:
        raise torch.AcceleratorError("CUDA error: uncorrectable ECC error encountered\nMore.")

    monkeypatch.setattr(torch, "ones", fail)
    with pytest.raises(DeviceLostError, match="uncorrectable ECC error encountered"):
        conversion.probe("cpu")


def test_a_worker_for_inspections_never_starts_cuda(
    monkeypatch: pytest.MonkeyPatch, checkpoint: Path
) -> None:
    """An inspection worker never asks CUDA for anything, in a probe or in a job."""
    fake_cuda.forbid(monkeypatch)
    assert conversion.probe("cpu")["device"] == "cpu"
    job = LocalJob(
        id="one", verb="inspect", source=checkpoint, folder=checkpoint.parent, filename="m.pt"
    )
    assert conversion.run(job, "cpu", silent).verdict == "passed"
