"""Whether torch can use a GPU here; if not, why, in torch's and CUDA's own words."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import torch

from convlast.devices.compatibility import has_code_for

_NODES = ("/dev/nvidiactl", "/dev/nvidia0")

_SAID_WITHOUT_A_GPU = {
    "Torch not compiled with CUDA": _NODES,
    "Found no NVIDIA driver": _NODES,
    "Cannot re-initialize CUDA in forked subprocess": _NODES,
    # A container sees this folder of its host, whether or not it was given a GPU. If it has CUDA's
    # driver as well, it was meant to have a GPU.
    "GPUs are available": (*_NODES, "/proc/driver/nvidia"),
}
"""Messages of torch that also appear without a GPU, with the files that show that there is one.

All its other messages come from NVIDIA's driver.

Source: `c10/cuda/CUDAFunctions.cpp` and `torch/cuda/__init__.py` of PyTorch.
"""


@dataclass(frozen=True)
class Obstacle:
    """What keeps torch from using a GPU.

    Attributes:
        reason: What the obstacle is, in one line without a full stop.
        remedy: What to do about it, likewise.
        is_gpu_there: Whether there seems to be a GPU that was meant to be used.
    """

    reason: str
    remedy: str
    is_gpu_there: bool = True


def obstacle_to(index: int) -> Obstacle | None:
    """Return what keeps torch from using a GPU, or None; starts CUDA in this process.

    Args:
        index: torch's index of the GPU, which does not count GPUs that CUDA_VISIBLE_DEVICES hides.
    """
    # `torch.cuda.is_available` would hide the reason, or warn about it only once per process.
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about obstacles returned below, and other GPUs
            torch.cuda.init()  # type: ignore[no-untyped-call] # torch's
    except (AssertionError, RuntimeError, torch.cuda.DeferredCudaCallError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        remedy = "Check the NVIDIA driver, and that torch is a build for CUDA"
        return Obstacle(reason, remedy, is_gpu_there=_is_gpu_there(reason))
    count = torch.cuda.device_count()
    if index >= count:
        return Obstacle(f"the last GPU that CUDA sees is cuda:{count - 1}", "Use that one")
    return _obstacle_to_code(index)


def _obstacle_to_code(index: int) -> Obstacle | None:
    """Return an obstacle if torch was built for other GPUs than this one."""
    gpu, built_for = torch.cuda.get_device_properties(index), torch.cuda.get_arch_list()
    if has_code_for((gpu.major, gpu.minor), built_for):
        return None
    return Obstacle(
        f"{gpu.name} has compute capability {gpu.major}.{gpu.minor}, and torch "
        f"{torch.__version__} was built for {', '.join(built_for)}",
        "Install a torch that was built for it (https://pytorch.org/get-started/locally/)",
    )


def _is_gpu_there(reason: str) -> bool:
    """Say whether there seems to be a GPU that is not hidden on purpose."""
    # This library reads no environment variables; torch knows how CUDA reads this one.
    if not torch.cuda._parse_visible_devices():
        return False
    for said, signs in _SAID_WITHOUT_A_GPU.items():
        if said in reason:
            return any(Path(sign).exists() for sign in signs)
    return True
