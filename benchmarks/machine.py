"""Where a measurement was made: it is worth nothing without."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import time

import torch

import convlast
from convlast.devices import environment_of, uuid_of

_ASKED = ("driver_version", "clocks.max.sm", "clocks.max.memory", "power.limit")


def describe() -> dict[str, str | int | None]:
    """Return the machine, the versions and the date, for the end of a result."""
    return {
        "cpu": environment_of(torch.device("cpu")).cpu,
        "cores": os.cpu_count(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "convlast": convlast.__version__,
        "date": time.strftime("%Y-%m-%d"),
    }


def describe_gpu(device: torch.device) -> dict[str, str | int | None]:
    """Return the GPU, its libraries, driver and highest clocks; what nobody tells is null."""
    environment = environment_of(device)
    driver, sm_mhz, memory_mhz, power_w = _of_driver(device)
    is_gpu = device.type == "cuda"
    return {
        "gpu": environment.gpu,
        "gpu_bytes": torch.cuda.get_device_properties(device).total_memory if is_gpu else None,
        "compute_capability": environment.compute_capability,
        "cuda": environment.cuda,
        "cudnn": environment.cudnn,
        "driver": environment.driver or driver,
        "max_sm_mhz": sm_mhz,
        "max_memory_mhz": memory_mhz,
        "power_limit_w": power_w,
    }


def _of_driver(device: torch.device) -> list[str | None]:
    """Ask NVIDIA's own program."""
    if device.type != "cuda" or shutil.which("nvidia-smi") is None:
        return [None] * len(_ASKED)
    command = ["nvidia-smi", f"--query-gpu={','.join(_ASKED)}", "--format=csv,noheader,nounits"]
    command += ["--id", uuid_of(device)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    told = [part.strip() for part in done.stdout.split(",")]
    return list(told) if len(told) == len(_ASKED) else [None] * len(_ASKED)
