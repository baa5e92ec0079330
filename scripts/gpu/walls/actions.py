"""What is tried behind the walls: what jobs do, and what might start something when first used."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from convlast.layout.memory_format import strides_of
from convlast.smoke.model.timing import clock_mhz
from convlast.smoke.model.ways import Request
from convlast.writing.permutation import permuted
from scripts.gpu.device import Device
from scripts.gpu.walls.mixed import Mixed
from tests.subjects import smoked  # now: behind the walls the folder of the tests cannot be read

Action: TypeAlias = Callable[[Device], object]
"""Returns something for JSON."""

FIRST, LAST = torch.contiguous_format, torch.channels_last_3d


def pointwise(volume: Tensor) -> Tensor:
    """Be made one kernel, which a GPU compiles when it first runs."""
    return torch.sigmoid(torch.relu(volume + 1.0) * 2.0) * 3.0


def volume_on(device: Device, dtype: torch.dtype | None = None) -> Tensor:
    """Draw an input of convolutions, in fp16 if nothing else is asked for."""
    return torch.randn(2, 16, 16, 16, 16, device=device.where).to(dtype or device.half)


def weight_on(device: Device, dtype: torch.dtype | None = None) -> Tensor:
    """Draw a convolution's weight, likewise."""
    return torch.randn(16, 16, 3, 3, 3, device=device.where).to(dtype or device.half)


def convolve(
    device: Device,
    memory_format: torch.memory_format = LAST,
    dtype: torch.dtype | None = None,
    function: Callable[..., Tensor] = functional.conv3d,
) -> object:
    """Run a convolution with a weight in this layout."""
    weight = weight_on(device, dtype).to(memory_format=memory_format)
    return function(volume_on(device, dtype), weight, padding=1).shape


def profile(device: Device) -> object:
    """Ask PyTorch's profiler which kernels a convolution runs, as it comes."""
    volume, weight = volume_on(device), weight_on(device)
    with torch.profiler.profile(acc_events=True) as profiler:
        functional.conv3d(volume, weight)
        device.wait()
    events = list(profiler.events() or ())
    kernels = [kernel.name[:120] for event in events for kernel in event.kernels]
    return {"events": len(events), "kernels": kernels}


def ask_the_clock(device: Device) -> object:
    """Ask NVML."""
    return clock_mhz(device.where) if device.is_gpu else None


def permute(device: Device) -> object:
    """Move a weight's elements as a conversion does; say whether the CPU gives the same."""
    weight = torch.randn(64, 64, 3, 3, 3)
    strides = strides_of(weight.shape, "channels_last_3d")
    here = permuted(weight, strides, torch.device("cpu"))
    return {"same_bytes": permuted(weight, strides, device.where) == here}


def convolve_by_trial(device: Device) -> object:
    """Let cuDNN try its kernels."""
    torch.backends.cudnn.benchmark = True
    try:
        return convolve(device)
    finally:
        torch.backends.cudnn.benchmark = False


def convolve_under_autocast(device: Device) -> object:
    """Convolve in fp32, which autocast makes fp16."""
    dtype = torch.float16 if device.is_gpu else torch.bfloat16
    with torch.autocast(device.where.type, dtype, cache_enabled=False):
        volume, weight = volume_on(device, torch.float32), weight_on(device, torch.float32)
        return functional.conv3d(volume, weight).dtype


def normalise(device: Device) -> object:
    """Run the three norms that models have."""
    volume = volume_on(device)
    mean, variance = (torch.ones(16, device=device.where, dtype=volume.dtype) for _ in range(2))
    functional.batch_norm(volume, mean, variance)
    functional.group_norm(volume, 4)
    return functional.instance_norm(volume).shape


def multiply(device: Device, dtype: torch.dtype | None = None) -> object:
    """Multiply matrices, by cuBLAS."""
    matrix = volume_on(device, dtype).flatten(1)
    return (matrix @ matrix.T).shape


def add_up(device: Device) -> object:
    """Take a dot product in fp64, as the comparison of outputs does."""
    ones = torch.ones(1 << 18, dtype=torch.float64, device=device.where)
    return float(ones.dot(ones))


def attend(device: Device) -> object:
    """Run attention."""
    heads = torch.randn(2, 4, 64, 32, device=device.where).to(device.half)
    return functional.scaled_dot_product_attention(heads, heads, heads).shape


def interpolate(device: Device) -> object:
    """Double a volume's extents."""
    return functional.interpolate(volume_on(device), scale_factor=2, mode="trilinear").shape


def sort(device: Device) -> object:
    """Sort numbers."""
    return torch.randn(1 << 16, device=device.where, dtype=torch.float64).sort().values.shape


def sample_on_a_grid(device: Device) -> object:
    """Warp a volume, as registration does."""
    grid = torch.zeros(2, 4, 4, 4, 3, device=device.where)
    volume = volume_on(device, torch.float32)
    return functional.grid_sample(volume, grid, align_corners=False).shape


def transform(device: Device) -> object:
    """Take a Fourier transform, by cuFFT."""
    return torch.fft.rfft(torch.randn(64, 64, device=device.where)).shape


def invert(device: Device) -> object:
    """Invert a matrix, by cuSOLVER."""
    return torch.linalg.inv(torch.eye(32, device=device.where)).shape


def compile_a_function(device: Device) -> object:
    """Run a function that PyTorch compiles with NVRTC."""
    return torch.special.bessel_j0(torch.randn(64, device=device.where)).shape


def fuse(device: Device) -> object:
    """Run a program until TorchScript makes one kernel of it, with NVRTC."""
    program = torch.jit.script(pointwise)
    return [program(volume_on(device, torch.float32)).shape for _ in range(4)][-1]


def take_much_memory(device: Device) -> object:
    """Take 4 GiB of the device, give them back, and ask what is left."""
    if not device.is_gpu:
        return None
    torch.empty(4 << 30, dtype=torch.uint8, device=device.where)
    torch.cuda.empty_cache()
    return torch.cuda.mem_get_info()


def smoke(device: Device) -> dict[str, Any]:
    """Smoke a whole model, as a job does; tell what the report would say of its kernels."""
    found = smoked(Mixed, (8, 12, 12, 12), Request(), device.where)
    told = found.smoke.model_dump(
        include={"status", "reason", "dispatch", "layout_kernels", "timings"}
    )
    return {**told, "faults": [fault.message[:200] for fault in found.faults]}


ACTIONS: dict[str, Action] = {
    "convolution fp16, NCDHW": partial(convolve, memory_format=FIRST),
    "convolution fp16, NDHWC": convolve,
    "convolution fp32, NCDHW": partial(convolve, memory_format=FIRST, dtype=torch.float32),
    "convolution fp32, NDHWC": partial(convolve, dtype=torch.float32),
    "transposed fp16, NCDHW": partial(
        convolve, memory_format=FIRST, function=functional.conv_transpose3d
    ),
    "transposed fp16, NDHWC": partial(convolve, function=functional.conv_transpose3d),
    "profiler": profile,
    "clock by NVML": ask_the_clock,
    "weights permuted": permute,
    "convolution by trial": convolve_by_trial,
    "autocast": convolve_under_autocast,
    "convolution bf16": partial(convolve, dtype=torch.bfloat16),
    "norms": normalise,
    "matrix product fp32": partial(multiply, dtype=torch.float32),
    "matrix product fp16": multiply,
    "dot product fp64": add_up,
    "attention": attend,
    "interpolation": interpolate,
    "sort": sort,
    "grid sample": sample_on_a_grid,
    "Fourier transform": transform,
    "inverse": invert,
    "compiled function": compile_a_function,
    "fused program": fuse,
    "4 GiB": take_much_memory,
    "smoke of a model": smoke,
}
"""By name, in this order: what every job does first."""
