"""The speed measurements of a whole model's smoke; on a CPU there is next to nothing to measure."""

from __future__ import annotations

from functools import partial

import torch

from convlast.report.smoke import Smoke
from convlast.report.wording import words_of
from convlast.smoke import device_health as health
from convlast.smoke.model.dispatch import profile
from convlast.smoke.model.specimen import Specimen, Way
from convlast.smoke.model.timing import LIMIT_S, pair_of, time_on_accelerator, timing_on_cpu
from convlast.smoke.model.trace import permutation_by
from convlast.smoke.model.ways import Ways
from convlast.smoke.out_of_memory import is_out_of_memory


def measure(ways: Ways, smoke: Smoke) -> None:
    """Add timings, kernels and the time spent permuting to the smoke, after all runs."""
    old = ways.specimen
    if old.device.type != "cuda":
        if ways.autocast_s is not None:
            smoke.timing = timing_on_cpu(smoke, ways.autocast_s)
            smoke.timings = [smoke.timing]
        return
    old.limit.check()
    make = partial(Specimen, old.subject, old.converted, old.device, old.halvings, old.limit)
    limit_s = min(LIMIT_S, old.limit.remaining_s() / 5)  # four settings, and the profiler
    smoke.timings = time_on_accelerator(make, ways.request.samples, limit_s)
    smoke.timing = smoke.timings[0]
    look_at_kernels(make, ways.request.samples, smoke)


def look_at_kernels(make: partial[Specimen], samples: int, smoke: Smoke) -> None:
    """Add the kernels that ran to the smoke, or why there are none: the profiler may be denied."""
    way = Way(samples)
    contiguous, converted = pair_of(make, torch.float16)
    try:
        seen = profile(contiguous, way, "contiguous"), profile(converted, way, "converted")
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        health.require_alive(contiguous.device)
        smoke.dispatch_reason = f"PyTorch's profiler failed: {words_of(error)}"
        return
    smoke.dispatch_reason = next((each.reason for each in seen if each.reason), None)
    if smoke.dispatch_reason is None:
        smoke.dispatch = [found for each in seen for found in each.dispatches]
        smoke.operators = [found for each in seen for found in each.operators]
        smoke.layout_kernels = [each.permuting for each in seen if each.permuting]
        for flip in smoke.flips:
            flip.seconds = seen[1].permuting_s.get(permutation_by(flip))
