"""What the smoke of a whole model measures of speed; on a CPU that is next to nothing."""

from __future__ import annotations

from functools import partial

import torch

from convlast.smoke.model.dispatch import profile
from convlast.smoke.model.specimen import Specimen, Way
from convlast.smoke.model.timing import pair_of, time_on_accelerator, timing_on_cpu
from convlast.smoke.model.ways import Ways
from convlast.smoke_report import Smoke


def measure(ways: Ways, smoke: Smoke) -> None:
    """Note timings, kernels and the layout's share of time, after all ways have run."""
    old = ways.specimen
    if old.device.type != "cuda":
        if ways.fp32_s is not None:
            smoke.timing = timing_on_cpu(old.input_shape(1), ways.fp32_s)
            smoke.timings = [smoke.timing]
        return
    make = partial(Specimen, old.subject, old.converted, old.device, old.halvings)
    smoke.timings = time_on_accelerator(make, ways.request.samples)
    smoke.timing = smoke.timings[0]
    layers, way = ways.seen.trace.convolutions, Way(ways.request.samples)
    contiguous, converted = pair_of(make, torch.float16)
    for dispatch, kernels in (
        profile(contiguous, way, layers, "contiguous"),
        profile(converted, way, layers, "converted"),
    ):
        smoke.dispatch += dispatch
        smoke.layout_kernels.append(kernels)
