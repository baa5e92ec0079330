from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch

from convlast.devices.cuda import obstacle_to
from tests import fake_cuda
from tests.fake_cuda import Gpu

CONTROL, FIRST, HOST = "/dev/nvidiactl", "/dev/nvidia0", "/proc/driver/nvidia"


@pytest.mark.parametrize(
    ("said", "there", "is_gpu_there"),
    [
        (fake_cuda.NO_DRIVER, [], False),
        (fake_cuda.NO_DRIVER, [CONTROL], True),
        (fake_cuda.NO_DRIVER, [HOST], False),  # a container on a machine with GPUs, given none
        (fake_cuda.NOT_COMPILED, [], False),
        (fake_cuda.NOT_COMPILED, [FIRST], True),
        (fake_cuda.NOT_COMPILED, [HOST], False),
        (fake_cuda.NO_GPUS, [], False),
        (fake_cuda.NO_GPUS, [HOST], True),  # its nodes are made when they are first used
        (fake_cuda.FORKED, [], False),
        (fake_cuda.FORKED, [FIRST], True),
        (fake_cuda.OLD_DRIVER, [], True),
        (fake_cuda.UNKNOWN, [], True),
    ],
)
@pytest.mark.parametrize("hidden", [None, "", "-1", "NoDevFiles", "0", "7", "GPU-8932f937"])
def test_a_gpu_is_there_by_what_cuda_says_and_by_what_the_machine_has(
    monkeypatch: pytest.MonkeyPatch,
    said: str,
    there: list[str],
    is_gpu_there: bool,
    hidden: str | None,
) -> None:
    """A GPU is known by a driver's error or by files; a hidden one does not count."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if hidden is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    fake_cuda.install_broken(monkeypatch, said, *there)
    found = obstacle_to(0)
    assert found is not None
    assert found.reason == said.rstrip(".")
    assert found.is_gpu_there is (is_gpu_there and hidden not in ("", "-1", "NoDevFiles"))


@pytest.mark.parametrize(
    "error",
    [
        AssertionError("libcudart functions unavailable. It looks like you have a broken build?"),
        torch.cuda.DeferredCudaCallError(
            "CUDA call failed lazily at initialization with error: CUDA error: out of memory\n\n"
            "CUDA call was originally invoked at:\n\n  File ..."
        ),
        RuntimeError("CUDA error: system not yet initialized\nCUDA kernel errors might be ..."),
    ],
)
def test_whatever_cuda_fails_with_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """The obstacle is the first line of torch's or CUDA's error."""
    fake_cuda.install_broken(monkeypatch, error)
    found = obstacle_to(0)
    assert found is not None
    assert found.is_gpu_there
    assert found.reason == str(error).splitlines()[0]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_on_a_machine_without_a_gpu_none_is_missed() -> None:
    """The message of the installed torch is understood: a machine without a GPU misses none."""
    found = obstacle_to(0)
    assert found is not None
    assert found.reason
    assert found.is_gpu_there is any(Path(each).exists() for each in (CONTROL, FIRST))


def test_a_gpu_that_can_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A usable GPU has no obstacle, and torch's warnings about other GPUs are not shown."""
    fake_cuda.install(monkeypatch, Gpu(), Gpu(major=8, minor=6))
    monkeypatch.setattr(torch.cuda, "init", lambda: warnings.warn("GPU1 is old", stacklevel=1))
    assert obstacle_to(0) is None
    assert obstacle_to(1) is None


def test_a_gpu_beyond_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a GPU that does not exist the last one is named."""
    fake_cuda.install(monkeypatch, Gpu(), Gpu())
    found = obstacle_to(2)
    assert found is not None
    assert found.reason == "the last GPU that CUDA sees is cuda:1"


def test_a_gpu_that_torch_was_not_built_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The obstacle names the GPU, its capability, torch's architectures, and what to do."""
    fake_cuda.install(monkeypatch, Gpu("Tesla P100", 6, 0), built_for="sm_75 sm_80 compute_80")
    found = obstacle_to(0)
    assert found is not None
    assert found.is_gpu_there
    assert found.reason == (
        f"Tesla P100 has compute capability 6.0, and torch {torch.__version__} was built for "
        "sm_75, sm_80, compute_80"
    )
    assert "Install a torch that was built for it" in found.remedy


def test_a_build_that_does_not_tell_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A build without a list of architectures is assumed to run on the GPU."""
    fake_cuda.install(monkeypatch, Gpu("Tesla P100", 6, 0), built_for="")
    assert obstacle_to(0) is None
