"""Look at everything once, what matters most first; each section stands alone.

    python -m scripts.gpu.sanity --into FILE [--limit-s 55] [--rehearse]

Exits with 3 where there is no GPU. Beyond the limit single convolutions are left out, and named.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from scripts.gpu.device import Device
from scripts.gpu.findings import Findings
from scripts.gpu.process import usage
from scripts.gpu.sanity.convolutions import CASES, IN_FLOAT32, in_float32, in_half
from scripts.gpu.sanity.environment import environment, start_of_cuda, tf32
from scripts.gpu.sanity.memory_errors import memory_errors
from scripts.gpu.sanity.pace import pace
from scripts.gpu.sanity.profiler import Profiler, sessions, small_kernels
from scripts.gpu.sanity.programs import programs
from scripts.gpu.sanity.slices import slices

Look = Callable[[], object]

HALF, FLOAT32 = "fp16, ", "fp32, "
"""How the names of sections begin of which there are many, each of them dispensable."""


def main() -> None:
    """Look at all sections."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.gpu.sanity",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--into", type=Path, required=True, metavar="FILE")
    parser.add_argument("--limit-s", type=float, default=55.0)
    parser.add_argument("--rehearse", action="store_true", help="on the CPU, in small")
    arguments = parser.parse_args()
    findings, device = Findings(arguments.into), Device(is_gpu=not arguments.rehearse)
    until_s = time.monotonic() + device.allowed_s(arguments.limit_s)
    findings.run("environment", environment)
    if device.is_gpu and not torch.cuda.is_available():
        findings.note("no GPU", None)
        sys.exit(3)
    for name, look in sections_of(device).items():
        if name.startswith((HALF, FLOAT32)) and time.monotonic() > until_s:
            findings.note(name, "left out: the time was up")
        else:
            findings.run(name, look)
    findings.note("end", usage())


def sections_of(device: Device) -> dict[str, Look]:
    """Return what is looked at, by name, in this order."""
    profiler = Profiler(device)
    return {
        "start of CUDA": partial(start_of_cuda, device),
        "TF32": tf32,
        "small kernels, no profiler yet": partial(small_kernels, profiler),
        "sessions of the profiler": partial(_sessions, profiler),
        "small kernels, after some sessions": partial(small_kernels, profiler),
        **{f"{HALF}{name}": partial(in_half, name, profiler) for name in CASES},
        "pace of a forward": partial(pace, device),
        "weights in slices": partial(slices, device),
        "errors of memory": partial(memory_errors, device),
        "fused programs": partial(programs, device),
        "small kernels, in the end": partial(small_kernels, profiler),
        **{f"{FLOAT32}{name}": partial(in_float32, name, device) for name in IN_FLOAT32},
    }


def _sessions(profiler: Profiler) -> object:
    operands = CASES["64-64 k3"].on(profiler.device, profiler.device.half)
    with torch.no_grad():
        return sessions(profiler, partial(operands.run, operands.volume, operands.weight))


if __name__ == "__main__":
    main()
