from __future__ import annotations

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import convlast
from convlast import Options
from convlast.cli import app
from convlast.devices import environment_of, resolve, unused_gpu, uuid_of
from convlast.errors import DeviceUnavailableError
from tests import builders, fake_cuda
from tests.fake_cuda import Gpu

QUIET = Options(smoke="none")


def test_names_of_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` and `cuda` are the first GPU if one can be used."""
    fake_cuda.install(monkeypatch, Gpu(), Gpu())
    names = ("auto", "cuda", "cuda:1", "cpu")
    assert [str(resolve(name)) for name in names] == ["cuda:0", "cuda:0", "cuda:1", "cpu"]
    assert not any(unused_gpu(name) for name in names)


@pytest.mark.parametrize(
    "said", [fake_cuda.OLD_DRIVER, fake_cuda.UNKNOWN, fake_cuda.NO_DRIVER, fake_cuda.NOT_COMPILED]
)
@pytest.mark.parametrize("name", ["cuda", "cuda:1"])
def test_a_gpu_that_is_asked_for_and_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch, name: str, said: str
) -> None:
    """The error has torch's own reason, each time, in one line."""
    fake_cuda.install_broken(monkeypatch, said)
    for _ in range(2):
        with pytest.raises(DeviceUnavailableError) as caught:
            resolve(name)
        assert str(caught.value).startswith(f"The device {name} cannot be used: {said.rstrip('.')}")
        assert "CONVLAST_DEVICE=cpu" in caught.value.remedy
        assert "\n" not in str(caught.value)


def test_a_gpu_that_torch_was_not_built_for_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that torch was not built for is not used, and `auto` says why."""
    fake_cuda.install(monkeypatch, Gpu("Tesla P100", 6, 0))
    with pytest.raises(DeviceUnavailableError, match=r"Tesla P100 has compute capability 6\.0"):
        resolve("cuda")
    assert resolve("auto").type == "cpu"
    (trouble,) = unused_gpu("auto")
    assert "Tesla P100" in trouble.message


@pytest.mark.parametrize("is_folder", [False, True])
def test_a_report_says_why_auto_was_the_cpu(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, is_folder: bool
) -> None:
    """A finding says once why `auto` was the CPU, also for a folder and without a smoke."""
    fake_cuda.install_broken(monkeypatch, fake_cuda.UNKNOWN)
    source = tmp_path / "model"
    source.mkdir()
    for name in ("one.pt", "two.pt"):
        builders.save(builders.one_convolution(), source / name)
    given, made = (source, "out") if is_folder else (source / "one.pt", "out.pt")
    report = convlast.convert(given, tmp_path / made, QUIET)
    assert (report.environment.device, report.verdict) == ("cpu", "passed_with_findings")
    (found,) = [each for each in report.findings if each.code == "gpu-unusable"]
    assert (found.severity, found.file) == ("warning", None)
    assert found.message.startswith("The CPU is used, because the GPU cannot be: CUDA unknown")
    assert not found.message.endswith("See .")


def test_the_command_line_prints_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The command line prints why the GPU is not used, except with `--device cpu`."""
    fake_cuda.install_broken(monkeypatch, fake_cuda.OLD_DRIVER)
    source = builders.save(builders.one_convolution(), tmp_path / "model.pt")
    for device, is_told in (("auto", True), ("cpu", False)):
        told = CliRunner().invoke(app, ["convert", str(source), "--force", "--device", device])
        assert told.exit_code == 0
        assert ("gpu-unusable" in told.stdout) is is_told
        assert ("found version 11040" in " ".join(told.stdout.split())) is is_told


@pytest.mark.parametrize("said", [fake_cuda.NO_DRIVER, fake_cuda.NO_GPUS, fake_cuda.NOT_COMPILED])
def test_a_machine_without_a_gpu_has_nothing_to_be_told(
    monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    """On a machine without a GPU there is no finding: `auto` means the CPU."""
    fake_cuda.install_broken(monkeypatch, said)
    assert resolve("auto").type == "cpu"
    assert unused_gpu("auto") == []


def test_without_a_gpu_cuda_is_never_started(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Inspection, verification and the device `cpu` never start CUDA."""
    source = builders.save(builders.one_convolution(), tmp_path / "model.pt")
    convlast.convert(source, tmp_path / "out.pt", QUIET, device="cpu")
    fake_cuda.forbid(monkeypatch)
    assert resolve("cpu").type == "cpu"
    assert unused_gpu("cpu") == []
    assert environment_of(torch.device("cpu")).cudnn is None
    assert convlast.inspect(source).environment.device == "cpu"
    assert convlast.verify(source, tmp_path / "out.pt").verdict == "passed"


def test_a_gpu_has_the_name_that_nvidia_gives_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU has NVIDIA's name for it, whatever its index."""
    fake_cuda.install(monkeypatch, Gpu(), Gpu(uuid="00000000-0000-0000-0000-000000000001"))
    assert uuid_of(torch.device("cuda", 1)) == "GPU-00000000-0000-0000-0000-000000000001"
