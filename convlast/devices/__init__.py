"""The device for the conversion and the smoke."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from pathlib import Path

import torch

from convlast.devices.compatibility import Device, Trouble, troubles_of
from convlast.devices.cuda import obstacle_to
from convlast.errors import (
    DeviceLostError,
    DeviceUnavailableError,
    OptionError,
    OutOfMemoryError,
)
from convlast.report import Environment
from convlast.version import __version__

_DEVICE = re.compile(r"auto|cpu|cuda(:\d{1,3})?")
_OR_THE_CPU = "or use --device cpu (setting CONVLAST_DEVICE=cpu)."


def resolve(device: str) -> torch.device:
    """Return the device with a name: `auto`, `cpu`, `cuda` or `cuda:1`.

    Raises:
        OptionError: If there is no such name.
        DeviceUnavailableError: If the GPU that was asked for is absent or cannot be used.

    >>> resolve("cpu")
    device(type='cpu')
    """
    device = str(device)  # a torch.device is understood too
    if not _DEVICE.fullmatch(device):
        raise OptionError(
            "device",
            f"There is no device {device[:40]!r}.",
            remedy="Use auto, cpu, cuda or cuda:1.",
        )
    # Return before torch is asked for anything: an inspection never starts CUDA.
    if device == "cpu":
        return torch.device("cpu")
    index = int(device.partition(":")[2] or 0)
    obstacle = obstacle_to(index)
    if obstacle is None:
        return torch.device("cuda", index)
    if device == "auto":
        return torch.device("cpu")
    raise DeviceUnavailableError(
        f"The device {device} cannot be used: {obstacle.reason}.",
        remedy=f"{obstacle.remedy}, {_OR_THE_CPU}",
    )


def unused_gpu(device: str) -> list[Trouble]:
    """Say why `auto` means the CPU on a machine that has a GPU; otherwise return an empty list.

    Args:
        device: A name that `resolve` accepts.
    """
    obstacle = obstacle_to(0) if device == "auto" else None
    if obstacle is None or not obstacle.is_gpu_there:
        return []
    return [
        Trouble(
            "gpu-unusable",
            f"The CPU is used, because the GPU cannot be: {obstacle.reason}.",
            f"{obstacle.remedy}, {_OR_THE_CPU}",
        )
    ]


@contextmanager
def on_the_cpu() -> Iterator[None]:
    """Make tensors on the CPU if a call names no device; also a decorator.

    Callers can have another default: `torch.set_default_device`, or `with torch.device("meta")`.
    """
    # Only if it is needed: this mode intercepts each call of torch.
    with nullcontext() if torch.get_default_device().type == "cpu" else torch.device("cpu"):
        yield


@contextmanager
def device_errors_translated(device: torch.device) -> Iterator[None]:
    """Translate torch's errors about memory and a failed device into ConvlastErrors.

    Raises:
        OutOfMemoryError: If memory of the host or of the device ran out.
        DeviceLostError: If the device failed.
    """
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise OutOfMemoryError(
            f"Memory ran out on {device} or its host.",
            remedy="Free memory there, or use --device cpu.",
        ) from error
    except torch.AcceleratorError as error:
        raise DeviceLostError(
            f"{device} failed: {str(error).partition(chr(10))[0]}.", remedy="Start a new process."
        ) from error


def environment_of(device: torch.device) -> Environment:
    """Describe the hardware and software that this process runs on."""
    # For a CPU torch is not asked about GPUs: even reading cuDNN's version would start CUDA.
    is_gpu = device.type == "cuda"
    gpu = torch.cuda.get_device_properties(device) if is_gpu else None
    cudnn = _cudnn() if is_gpu else None
    return Environment(
        convlast=__version__,
        python=platform.python_version(),
        torch=torch.__version__,
        cuda=torch.version.cuda,
        cudnn=_dotted(cudnn) if cudnn else None,
        device=str(device),
        gpu=gpu.name if gpu else None,
        compute_capability=f"{gpu.major}.{gpu.minor}" if gpu else None,
        driver=_driver(),
        cpu=_cpu(),
        platform=_platform(),
    )


def uuid_of(device: torch.device) -> str:
    """Name a GPU as NVIDIA's tools do. Their index differs from torch's: it counts hidden GPUs too.

    Source: https://docs.nvidia.com/cuda/cuda-programming-guide/05-appendices/environment-variables.html
    """
    return f"GPU-{torch.cuda.get_device_properties(device).uuid}"


def troubles_on(device: torch.device) -> list[Trouble]:
    """Return the known troubles with a GPU and its libraries; none for a CPU."""
    if device.type != "cuda":
        return []
    major, minor = torch.cuda.get_device_capability(device)
    return list(troubles_of(Device(torch.__version__, _cudnn(), (major, minor))))


def _cudnn() -> int | None:
    """Return cuDNN's version number, if it is installed; starts CUDA in this process."""
    found: int | None = torch.backends.cudnn.version()  # type: ignore[no-untyped-call] # torch's
    return found


def _dotted(version: int) -> str:
    """Write cuDNN's version number with dots.

    >>> _dotted(91900), _dotted(8905)
    ('9.19.0', '8.9.5')
    """
    thousand = 10_000 if version >= 90_000 else 1_000
    return f"{version // thousand}.{version % thousand // 100}.{version % 100}"


def _platform() -> str:
    """Name the system as `platform.platform` does, but without starting a program.

    `platform.platform` runs `uname -p` for the processor, which it does not show; a worker may not
    start programs. Source: `platform.uname` in Python 3.11.
    """
    named = f"{platform.system()}-{platform.release()}-{platform.machine()}"
    library = "".join(platform.libc_ver())
    return f"{named}-with-{library}" if library else named


def _driver() -> str | None:
    """Return the version of NVIDIA's kernel driver."""
    return _first(Path("/proc/driver/nvidia/version"), r"Kernel Module.*?(\d+\.\d+(?:\.\d+)?)")


@cache
def _cpu() -> str | None:
    """Return the name of the processor; the file has a paragraph for each core."""
    return _first(Path("/proc/cpuinfo"), r"model name\s*:\s*(.+)")


def _first(path: Path, pattern: str) -> str | None:
    try:
        found = re.search(pattern, path.read_text(errors="replace"))
    except OSError:
        return None
    return found.group(1).strip() if found else None
