"""How much faster or slower converted weights are, inside the whole model on this device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from statistics import median

import torch
from torch import nn

from convlast.devices import uuid_of
from convlast.report.smoke import Smoke, Timing
from convlast.smoke.model.clock import Race, clock_of, race
from convlast.smoke.model.specimen import Specimen, Way

LIMIT_S = 4.0
"""Seconds for one comparison on an accelerator."""


@dataclass(frozen=True)
class Setting:
    """The setting in which contiguous and converted weights are compared.

    Attributes:
        samples: N of the input.
        is_autocast: Whether to run in fp32 under autocast instead of in fp16.
        benchmark: `torch.backends.cudnn.benchmark`.
    """

    samples: int
    is_autocast: bool = False
    benchmark: bool = False

    @property
    def way(self) -> Way:
        """How to run the model."""
        return Way(self.samples, is_autocast=self.is_autocast)


def settings_for(samples: int) -> tuple[Setting, ...]:
    """Return the settings to compare on an accelerator; the advice is based on the first."""
    several = [Setting(samples), Setting(samples, benchmark=True), Setting(1)]
    return tuple(dict.fromkeys([*several, Setting(samples, is_autocast=True)]))


def time_on_accelerator(
    make: partial[Specimen], samples: int, limit_s: float = LIMIT_S
) -> list[Timing]:
    """Time contiguous against converted weights under all settings.

    Args:
        make: Makes a specimen in fp32.
        samples: N of the larger input.
        limit_s: Seconds for each setting.
    """
    timings: list[Timing] = []
    settings = settings_for(samples)
    for is_autocast in (False, True):
        pair = pair_of(make, torch.float32 if is_autocast else torch.float16)
        timings += [time_pair(pair, s, limit_s) for s in settings if s.is_autocast == is_autocast]
        del pair
    return timings


def timing_on_cpu(smoke: Smoke, seconds: tuple[float, float]) -> Timing:
    """Return the times of one emulated run of each on a CPU, which say nothing about a GPU."""
    contiguous_s, converted_s = seconds
    return Timing(
        contiguous_s=contiguous_s,
        converted_s=converted_s,
        speedup=contiguous_s / max(converted_s, 1e-9),
        spread=0.0,
        representative=False,
        stable=False,
        dtype=smoke.dtype,
        autocast=True,
        input_shape=smoke.input_shape,
        rounds=1,
    )


def pair_of(make: partial[Specimen], dtype: torch.dtype) -> tuple[Specimen, Specimen]:
    """Make two specimens, one contiguous and one converted."""
    contiguous, converted = make(), make()
    for specimen in (contiguous, converted):
        specimen.cast(dtype)
    converted.lay_out()
    return contiguous, converted


def race_of(pair: Sequence[Specimen], setting: Setting, limit_s: float) -> Race:
    """Time two specimens against each other under one setting."""
    contiguous, converted = pair
    inputs = contiguous.inputs(setting.way)
    with _benchmarking(setting.benchmark):
        return race(
            lambda: contiguous.call(inputs, setting.way),
            lambda: converted.call(inputs, setting.way),
            clock_of(contiguous.device),
            limit_s=limit_s,
        )


def time_pair(pair: Sequence[Specimen], setting: Setting, limit_s: float) -> Timing:
    """Time two specimens against each other, and measure the memory that each takes."""
    contiguous, converted = pair
    found = race_of(pair, setting, limit_s)
    return Timing(
        contiguous_s=median(found.first_s),
        converted_s=median(found.second_s),
        speedup=found.speedup,
        spread=found.spread,
        representative=contiguous.device.type == "cuda",
        stable=found.is_stable,
        autocast=setting.is_autocast,
        cudnn_benchmark=setting.benchmark,
        input_shape=contiguous.input_shape(setting.samples),
        rounds=len(found.first_s),
        contiguous_peak_bytes=_peak_bytes(contiguous, setting.way),
        converted_peak_bytes=_peak_bytes(converted, setting.way),
        clock_mhz=clock_mhz(contiguous.device),
    )


def _peak_bytes(specimen: Specimen, way: Way) -> int | None:
    """Return the peak device memory of a forward, including the model."""
    if specimen.device.type != "cuda":
        return None
    device, inputs = specimen.device, specimen.inputs(way)
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    specimen.call(inputs, way)
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before + _bytes_of(specimen.module)


def _bytes_of(module: nn.Module) -> int:
    held = [*module.parameters(), *module.buffers()]
    return sum(tensor.numel() * tensor.itemsize for tensor in held)


def clock_mhz(device: torch.device) -> int | None:
    """Return the clock rate of the GPU's multiprocessors, if NVML is installed and says it."""
    try:
        import pynvml  # type: ignore[import-untyped] # it has no annotations

        # Not `torch.cuda.clock_rate`: it assumes NVML's GPU order, but CUDA puts the fastest first.
        pynvml.nvmlInit()
        gpu = pynvml.nvmlDeviceGetHandleByUUID(uuid_of(device))
        return int(pynvml.nvmlDeviceGetClockInfo(gpu, pynvml.NVML_CLOCK_SM))
    except Exception:  # a CPU, no NVML, no right to ask it, or a GPU that does not say
        return None


@contextmanager
def _benchmarking(is_on: bool) -> Iterator[None]:
    """Turn cuDNN's benchmark mode on or off, and restore the setting afterwards."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = is_on
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before
