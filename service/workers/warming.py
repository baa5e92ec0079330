"""Starts the libraries that jobs use on the device, before the sandbox is sealed.

A CUDA library starts when it is first used: it loads code, opens device files and starts threads,
which the sealed sandbox forbids. So each one does a small operation here. On a CPU there is little
to start.

Libraries that compute must work. Libraries that only measure or compile may be absent or forbidden:
a job that needs one reports it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import product
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import conv3d, conv_transpose3d

from convlast.smoke import device_health as health
from convlast.smoke.model.timing import clock_mhz
from convlast.smoke.out_of_memory import is_refusal
from convlast.smoke.precision import exact_float32, is_native

Step: TypeAlias = Callable[[torch.device], object]

CONVOLUTIONS: Sequence[Callable[[Tensor, Tensor], Tensor]] = (conv3d, conv_transpose3d)
LAYOUTS = (torch.contiguous_format, torch.channels_last_3d)


def warm_up(device: torch.device) -> None:
    """Start the libraries that jobs use on this device.

    Raises:
        RuntimeError: If the device does not compute.
    """
    for step in steps_on(device).values():
        step(device)
    health.wait_for(device)


def steps_on(device: torch.device) -> Mapping[str, Step]:
    """Return the steps for a device, by name; on a CPU jobs need only convolutions.

    >>> list(steps_on(torch.device("cpu")))
    ['convolutions']
    """
    return STEPS if device.type == "cuda" else {"convolutions": convolve}


def convolve(device: torch.device) -> None:
    """Start cuDNN: convolve and convolve transposed, in each native precision and each layout.

    fp32 runs without TF32, as in a smoke, where it is the reference for fp16. cuDNN may have no
    channels-last kernel for it, which a smoke does not need.
    """
    dtypes = (torch.float16, torch.float32) if is_native(device) else (torch.float32,)
    with exact_float32():
        for dtype, function, layout in product(dtypes, CONVOLUTIONS, LAYOUTS):
            volume, weight = _operands(device, dtype)
            try:
                function(volume.to(memory_format=layout), weight.to(memory_format=layout))
            except RuntimeError as error:
                if dtype == torch.float16 or not is_refusal(error):
                    raise


def autocast(device: torch.device) -> None:
    """Convolve as models do that have fp32 weights and run in fp16."""
    with torch.autocast(device.type, torch.float16, cache_enabled=False):
        conv3d(*_operands(device, torch.float32))


def multiply(device: torch.device) -> None:
    """Start cuBLAS, which the linear layers of models use."""
    for dtype in (torch.float16, torch.float32):
        matrix = torch.ones(16, 16, dtype=dtype, device=device)
        matrix @ matrix


def profile(device: torch.device) -> None:
    """Start CUPTI, with which the smoke of a model records the kernels that ran."""
    with _allowed_to_fail():
        with torch.profiler.profile(acc_events=True) as profiler:
            conv3d(*_operands(device, torch.float32))
            health.wait_for(device)
        profiler.events()


def compile_kernel(device: torch.device) -> None:
    """Start NVRTC, which compiles PyTorch's rarer functions when they are first called.

    Models call some of these, such as `lgamma`, or functions on complex numbers. cuDNN compiles
    some kernels with NVRTC as well, and TorchScript its fused kernels.

    Source: `jitted_gpu_kernel` in aten/src/ATen/native/cuda.
    """
    with _allowed_to_fail():
        torch.special.bessel_j0(torch.ones(8, device=device))
        health.wait_for(device)


STEPS: Mapping[str, Step] = {
    "convolutions": convolve,
    "autocast": autocast,
    "matrices": multiply,
    "profiler": profile,
    "clock": clock_mhz,  # starts NVML, where nvidia-ml-py is installed
    "compiler": compile_kernel,
}
"""All steps, in order, by what they start."""


def _operands(device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return an input and a weight; tensor cores need channels in multiples of eight."""
    volume = torch.zeros(1, 8, 8, 8, 8, dtype=dtype, device=device)
    return volume, torch.zeros(8, 8, 3, 3, 3, dtype=dtype, device=device)


@contextmanager
def _allowed_to_fail() -> Iterator[None]:
    """Ignore errors and warnings of a library that is absent or forbidden."""
    with suppress(Exception), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
