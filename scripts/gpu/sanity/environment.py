"""The machine, the first things that CUDA does in a process, and the settings of TF32."""

from __future__ import annotations

import os
import platform
import sys
import time
import warnings
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from convlast.smoke.model.timing import clock_mhz
from convlast.smoke.precision import exact_float32
from scripts.gpu.device import Device
from scripts.gpu.process import usage
from service.sandbox.landlock import available_version

_VARIABLES = ("CUDA", "NVIDIA", "PYTORCH", "TORCH", "OMP", "LD_LIBRARY_PATH")
_PACKAGES = ("numpy", "torchvision", "triton")


def environment() -> dict[str, Any]:
    """Tell what the machine is, and what the sandbox can count on."""
    variables = os.environ.items()  # noqa: TID251  # they are looked at, not followed
    return {
        "python": platform.python_version(),
        "executable": sys.executable,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        **{name: _version_of(name) for name in _PACKAGES},
        "kernel": platform.release(),
        "uid": os.getuid(),
        "cores": os.cpu_count(),
        "devices": sorted(f"{p} {p.stat().st_mode:o}" for p in Path("/dev").glob("nvidia*")),
        "driver": _text_of("/proc/driver/nvidia/version"),
        "driver_libraries": [str(p) for p in Path("/usr/local/nvidia").glob("lib*/libcuda.so*")],
        "persistence_daemon": Path("/run/nvidia-persistenced").exists(),
        "shared_memory": Path("/dev/shm").is_dir(),  # noqa: S108  # whether it is there, no more
        "security_modules": _text_of("/sys/kernel/security/lsm"),
        "landlock": available_version(),
        "seccomp": "Seccomp_filters" in Path("/proc/self/status").read_text(),
        "variables": {name: value for name, value in variables if name.startswith(_VARIABLES)},
    }


def start_of_cuda(device: Device) -> dict[str, Any]:
    """Time the first things that CUDA does in this process, and keep what they warn of."""
    steps = {}
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for name, do in _first_steps(device).items():
            steps[name] = _timed(do, device)
    return {
        "steps": steps,
        **(_gpu() if device.is_gpu else {}),
        "architectures": torch.cuda.get_arch_list(),
        "warnings": [str(each.message)[:300] for each in said],
        **usage(),
    }


def _first_steps(device: Device) -> dict[str, Callable[[], object]]:
    def convolve(memory_format: torch.memory_format) -> object:
        volume = torch.randn(1, 8, 8, 8, 8, dtype=device.half, device=device.where)
        weight = torch.randn(8, 8, 3, 3, 3, dtype=device.half, device=device.where)
        volume, weight = (each.to(memory_format=memory_format) for each in (volume, weight))
        return functional.conv3d(volume, weight).shape

    def multiply() -> object:
        matrix = torch.randn(64, 64, device=device.where)
        return (matrix @ matrix).shape

    steps: dict[str, Callable[[], object]] = {
        "is_available": torch.cuda.is_available,
        "first tensor": lambda: torch.ones(8, device=device.where).sum().item(),
        "first convolution, NCDHW": lambda: convolve(torch.contiguous_format),
        "first convolution, NDHWC": lambda: convolve(torch.channels_last_3d),
        "first matrix product": multiply,
    }
    if device.is_gpu:
        steps["clock by NVML, MHz"] = lambda: clock_mhz(device.where)
    return steps


def _timed(do: Callable[[], object], device: Device) -> dict[str, object]:
    """Do one step; the next ones are tried where it fails."""
    began_s = time.perf_counter()
    try:
        found = {"value": do()}
        device.wait()
    except Exception as error:
        found = {"error": f"{type(error).__name__}: {str(error)[:300]}"}
    return {"took_s": round(time.perf_counter() - began_s, 4), **found}


def _gpu() -> dict[str, object]:
    found = torch.cuda.get_device_properties(0)
    return {
        "gpu": found.name,
        "compute_capability": f"{found.major}.{found.minor}",
        "processors": found.multi_processor_count,
        "free_and_total_bytes": torch.cuda.mem_get_info(),
    }


def tf32() -> dict[str, str]:
    """Tell what PyTorch's settings of TF32 are, inside `exact_float32` and after it."""
    convolutions = torch.backends.cudnn.conv  # type: ignore[attr-defined] # set on the module at run time
    found = {"before": convolutions.fp32_precision}
    with exact_float32():
        found["inside"] = convolutions.fp32_precision
        found["inside, by its older name"] = _asked(lambda: torch.backends.cudnn.allow_tf32)
        found["inside, by cudnn.flags"] = _asked(_enter_flags)
    return {**found, "after": convolutions.fp32_precision}


def _enter_flags() -> None:
    with torch.backends.cudnn.flags(enabled=True):
        pass


def _asked(ask: Callable[[], object]) -> str:
    """Return the answer, or what PyTorch raises: since 2.9 the older names refuse newer values."""
    try:
        return str(ask())
    except RuntimeError as refusal:
        return f"refused: {str(refusal)[:160]}"


def _version_of(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _text_of(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")[:400]
    except OSError as error:
        return f"not readable: {error.strerror}"
