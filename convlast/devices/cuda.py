"""Whether torch can use a GPU here; if not, why, in the words of torch and of CUDA."""

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
    # A container sees this folder of its host, whether or not it was given a GPU. Where it has
    # CUDA's driver as well, it was meant to have one.
    "GPUs are available": (*_NODES, "/proc/driver/nvidia"),
}
"""What torch says also where there is no GPU, and what on the machine shows that there is one.

All else that it says comes from NVIDIA's driver.

Source: `c10/cuda/CUDAFunctions.cpp` and `torch/cuda/__init__.py` of PyTorch.
"""


@dataclass(frozen=True)
class Obstacle:
    """What keeps torch from using a GPU.

    Attributes:
        reason: What it is, in one line without a full stop.
        remedy: What to do about it, likewise.
        is_gpu_there: Whether there seems to be a GPU that was meant to be used.
    """

    reason: str
    remedy: str
    is_gpu_there: bool = True


def obstacle_to(index: int) -> Obstacle | None:
    """Say what keeps torch from using a GPU; starts CUDA in this process.

    Args:
        index: As torch counts, which leaves out what CUDA_VISIBLE_DEVICES hides.
    """
    # `torch.cuda.is_available` would swallow the reason, or warn of it once in a process.
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is refused below, and of other GPUs
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
    """Say whether torch was built for other GPUs than this."""
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
    # The library reads no environment; torch knows how CUDA reads this variable.
    if not torch.cuda._parse_visible_devices():
        return False
    for said, signs in _SAID_WITHOUT_A_GPU.items():
        if said in reason:
            return any(Path(sign).exists() for sign in signs)
    return True
