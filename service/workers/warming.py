"""What a worker does once on its device before its walls close, since what starts later may not.

A library of CUDA starts when it is first used: it loads code, opens what belongs to the driver and
starts threads. Here each one that jobs use does one small thing. On a CPU there is little to start.

What computes must work. A library that only looks, or compiles, may be absent or not allowed to: a
job that needs it says so.
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
    """Start what jobs use on this device.

    Raises:
        RuntimeError: If it does not compute.
    """
    for step in steps_on(device).values():
        step(device)
    health.wait_for(device)


def steps_on(device: torch.device) -> Mapping[str, Step]:
    """Return what is done on a device, by name; on a CPU jobs use no more than convolutions.

    >>> list(steps_on(torch.device("cpu")))
    ['convolutions']
    """
    return STEPS if device.type == "cuda" else {"convolutions": convolve}


def convolve(device: torch.device) -> None:
    """Start cuDNN: convolutions, and transposed ones, in each precision that is native, and layout.

    fp32 is what fp16 is compared with, so that it is no TF32 here either; cuDNN may have no kernel
    for that in channels-last, which a smoke can do without.
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
    """Convolve as models do that are in fp32 and run in fp16."""
    with torch.autocast(device.type, torch.float16, cache_enabled=False):
        conv3d(*_operands(device, torch.float32))


def multiply(device: torch.device) -> None:
    """Start cuBLAS, which the linear layers of models use."""
    for dtype in (torch.float16, torch.float32):
        matrix = torch.ones(16, 16, dtype=dtype, device=device)
        matrix @ matrix


def profile(device: torch.device) -> None:
    """Start CUPTI, which tells which kernels ran, as the smoke of a model asks it to."""
    with _allowed_to_fail():
        with torch.profiler.profile(acc_events=True) as profiler:
            conv3d(*_operands(device, torch.float32))
            health.wait_for(device)
        profiler.events()


def compile_kernel(device: torch.device) -> None:
    """Start NVRTC, which compiles PyTorch's rarer functions when they are first called.

    Models call some of these, such as `lgamma`, or any on complex numbers; cuDNN compiles some of
    its kernels by NVRTC as well, and TorchScript those that it fuses.

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
"""All of them, in this order, by what starts."""


def _operands(device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return an input and a weight; channels in eights are what tensor cores take."""
    volume = torch.zeros(1, 8, 8, 8, 8, dtype=dtype, device=device)
    return volume, torch.zeros(8, 8, 3, 3, 3, dtype=dtype, device=device)


@contextmanager
def _allowed_to_fail() -> Iterator[None]:
    """Go on, silently, where a library is absent or refuses."""
    with suppress(Exception), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
