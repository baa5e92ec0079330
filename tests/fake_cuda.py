"""A CUDA that is not there: what torch tells of GPUs, of their absence, and of what is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import NoReturn

import pytest
import torch

from convlast.devices import cuda

OLD_DRIVER = (
    "The NVIDIA driver on your system is too old (found version 11040). Please update your GPU "
    "driver by downloading and installing a new version from the URL: "
    "http://www.nvidia.com/Download/index.aspx Alternatively, go to: https://pytorch.org to "
    "install a PyTorch version that has been compiled with your version of the CUDA driver."
)
NO_DRIVER = (
    "Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU and installed "
    "a driver from http://www.nvidia.com/Download/index.aspx"
)
UNKNOWN = (
    "CUDA unknown error - this may be due to an incorrectly set up environment, e.g. changing env "
    "variable CUDA_VISIBLE_DEVICES after program start. Setting the available devices to be zero."
)
NO_GPUS = "No CUDA GPUs are available"
NOT_COMPILED = "Torch not compiled with CUDA enabled"
FORKED = (
    "Cannot re-initialize CUDA in forked subprocess. To use CUDA with multiprocessing, you must "
    "use the 'spawn' start method"
)


@dataclass(frozen=True)
class Gpu:
    """What torch tells of a GPU."""

    name: str = "NVIDIA H100 80GB HBM3"
    major: int = 9
    minor: int = 0
    uuid: str = "8932f937-d72c-4106-c12f-20bd9faed9f6"
    total_memory: int = 80 << 30


def install(
    monkeypatch: pytest.MonkeyPatch, *gpus: Gpu, built_for: str = "sm_80 sm_90 compute_120"
) -> None:
    """Have torch see these GPUs, built for these architectures."""

    def properties_of(device: torch.device | int) -> Gpu:
        return gpus[(device.index or 0) if isinstance(device, torch.device) else device]

    monkeypatch.setattr(torch.cuda, "init", lambda: None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(gpus))
    monkeypatch.setattr(torch.cuda, "get_arch_list", built_for.split)
    monkeypatch.setattr(torch.cuda, "get_device_properties", properties_of)


def install_broken(monkeypatch: pytest.MonkeyPatch, said: str | Exception, *there: str) -> None:
    """Have CUDA fail to start.

    Args:
        monkeypatch: Puts all back.
        said: What it says.
        there: The signs of a GPU that the machine has.
    """

    class Place(PurePosixPath):
        def exists(self) -> bool:
            return str(self) in there

    def fail() -> NoReturn:
        raise RuntimeError(said) if isinstance(said, str) else said

    monkeypatch.setattr(torch.cuda, "init", fail)
    monkeypatch.setattr(cuda, "Path", Place)


def forbid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have everything that torch does with CUDA fail the test."""

    def refuse(*args: object, **settings: object) -> NoReturn:
        raise AssertionError("CUDA was asked for something")

    for name, found in list(vars(torch.cuda).items()):
        if callable(found) and not isinstance(found, type):
            monkeypatch.setattr(torch.cuda, name, refuse)
    for name in dir(torch._C):
        if name.startswith(("_cuda", "_cudnn")):
            monkeypatch.setattr(torch._C, name, refuse)
    monkeypatch.setattr(torch.backends.cudnn, "version", refuse)
