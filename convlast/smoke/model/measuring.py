"""What the smoke of a whole model measures of speed; on a CPU that is next to nothing."""

from __future__ import annotations

from functools import partial

import torch

from convlast.smoke import health
from convlast.smoke.memory import is_out_of_memory
from convlast.smoke.model.dispatch import profile
from convlast.smoke.model.specimen import Specimen, Way
from convlast.smoke.model.timing import pair_of, time_on_accelerator, timing_on_cpu
from convlast.smoke.model.ways import Ways
from convlast.smoke_report import Smoke


def measure(ways: Ways, smoke: Smoke) -> None:
    """Note timings, kernels and the layout's share of time, after all ways have run."""
    old = ways.specimen
    if old.device.type != "cuda":
        if ways.autocast_s is not None:
            smoke.timing = timing_on_cpu(smoke, ways.autocast_s)
            smoke.timings = [smoke.timing]
        return
    make = partial(Specimen, old.subject, old.converted, old.device, old.halvings)
    smoke.timings = time_on_accelerator(make, ways.request.samples)
    smoke.timing = smoke.timings[0]
    _look_at_kernels(ways, smoke, make)


def _look_at_kernels(ways: Ways, smoke: Smoke, make: partial[Specimen]) -> None:
    """Note which kernels ran; where the profiler is not allowed to look, note none."""
    layers, way = ways.seen.trace.convolutions, Way(ways.request.samples)
    contiguous, converted = pair_of(make, torch.float16)
    try:
        seen = [
            profile(contiguous, way, layers, "contiguous"),
            profile(converted, way, layers, "converted"),
        ]
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        health.require_alive(contiguous.device)
        return
    smoke.dispatch = [found for dispatch, _ in seen for found in dispatch]
    smoke.layout_kernels = [kernels for _, kernels in seen]
