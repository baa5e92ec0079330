"""Which GPUs a build of torch has code for, and which versions and devices have known troubles.

A trouble is that 3-D convolutions are slow or wrong; each has a cure.

Nothing here queries a device: its properties are passed in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

TENSOR_CORES = (7, 0)
"""The first compute capability with tensor cores, and the first that PyTorch's documentation of
the conversion mentions.

Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.convert_conv3d_weight_memory_format.html
"""


@dataclass(frozen=True)
class Device:
    """A GPU and its libraries.

    Attributes:
        torch: PyTorch's version, such as `2.11.0+cu130`.
        cudnn: cuDNN's version number at run time, such as 91900; None if it is not installed.
        capability: The compute capability.
    """

    torch: str
    cudnn: int | None
    capability: tuple[int, int]

    @property
    def torch_release(self) -> tuple[int, int]:
        """PyTorch's major and minor version."""
        found = re.match(r"(\d+)\.(\d+)", self.torch)
        return (int(found[1]), int(found[2])) if found else (0, 0)


@dataclass(frozen=True)
class Trouble:
    """A known problem.

    Attributes:
        code: A permanent name.
        message: What the problem is.
        cure: What to do about it.
        source: Where it is documented; empty if it was found on this machine.
    """

    code: str
    message: str
    cure: str
    source: str = ""


_KNOWN: tuple[tuple[Callable[[Device], bool], Trouble], ...] = (
    (
        lambda device: _has_troubled_cudnn(device) and device.torch_release < (2, 9),
        Trouble(
            "cudnn-wrong-results",
            "This cuDNN (9.8 to 9.14) gives wrong results for some half-precision Conv3d, and this "
            "PyTorch does not avoid it.",
            "Use PyTorch 2.11 or newer with the cuDNN that it brings.",
            "https://github.com/pytorch/pytorch/issues/163539",
        ),
    ),
    (
        lambda device: _has_troubled_cudnn(device) and device.torch_release >= (2, 9),
        Trouble(
            "cudnn-avoided",
            "PyTorch does not use this cuDNN (9.8 to 9.14) for contiguous half-precision Conv3d "
            "and runs a slow fallback; channels-last is exempt. A speed-up measured here comes "
            "from avoiding the fallback, not from the layout itself.",
            "Install the cuDNN that PyTorch was built with, 9.15 or newer, and measure again.",
            "https://github.com/pytorch/pytorch/pull/166480",
        ),
    ),
    (
        lambda device: device.cudnn is None,
        Trouble(
            "no-cudnn",
            "PyTorch has no cuDNN here: 3-D convolutions run slow fallbacks in either layout.",
            "Install a PyTorch that brings cuDNN, and check torch.backends.cudnn.is_available().",
            "https://docs.pytorch.org/docs/stable/backends.html#module-torch.backends.cudnn",
        ),
    ),
    (
        lambda device: device.capability < TENSOR_CORES,
        Trouble(
            "no-tensor-cores",
            "This GPU has a compute capability below 7.0, so no tensor cores: PyTorch promises "
            "nothing for channels-last there.",
            "Keep your file for this GPU, or measure on the one that will serve.",
            "https://docs.pytorch.org/docs/stable/generated/"
            "torch.nn.utils.convert_conv3d_weight_memory_format.html",
        ),
    ),
)


def troubles_of(device: Device) -> Iterator[Trouble]:
    """Yield the known troubles with a device and its libraries.

    >>> [found.code for found in troubles_of(Device("2.10.0+cu128", 91002, (9, 0)))]
    ['cudnn-avoided']
    >>> list(troubles_of(Device("2.11.0+cu130", 91900, (9, 0))))
    []
    """
    return (trouble for is_hit, trouble in _KNOWN if is_hit(device))


def has_code_for(capability: tuple[int, int], architectures: Iterable[str]) -> bool:
    """Say whether a build of torch has code that a GPU runs; if its list is empty, assume so.

    Args:
        capability: The GPU's compute capability.
        architectures: What torch was built for, from `torch.cuda.get_arch_list`.

    >>> has_code_for((8, 9), ["sm_80", "sm_90"]), has_code_for((7, 5), ["sm_80", "sm_90"])
    (True, False)
    """
    named = list(architectures)
    return not named or any(_runs(name, capability) for name in named)


def _runs(architecture: str, capability: tuple[int, int]) -> bool:
    """Say whether a GPU runs code for one architecture; assume so for an unknown name.

    Machine code runs on its own capability and on later ones of the same major version, PTX on all
    later ones. The suffix `a` restricts both to exactly this capability, `f` to the major version.

    Source: https://docs.nvidia.com/cuda/cuda-c-programming-guide/#compute-capabilities
    """
    named = re.fullmatch(r"(sm|compute)_(\d+)(\d)([af]?)", architecture)
    if named is None:
        return True
    kind, built_for, suffix = named[1], (int(named[2]), int(named[3])), named[4]
    if suffix == "a":
        return capability == built_for
    is_same_major = capability[0] == built_for[0]
    return capability >= built_for and (is_same_major or (kind == "compute" and not suffix))


def _has_troubled_cudnn(device: Device) -> bool:
    """Say whether its cuDNN is one of 9.8 to 9.14."""
    return device.cudnn is not None and 90800 <= device.cudnn < 91500
