"""Where everything is run: on the GPU; or, in a rehearsal, in small and once on the CPU."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch

_WARM_UP = 3
_ROUNDS = 9
_PATIENCE = 4


@dataclass(frozen=True)
class Device:
    """The first GPU, or the CPU.

    Attributes:
        is_gpu: False in a rehearsal, where sizes are tiny and nothing is repeated.
    """

    is_gpu: bool

    @property
    def where(self) -> torch.device:
        """As PyTorch names it."""
        return torch.device("cuda", 0) if self.is_gpu else torch.device("cpu")

    @property
    def half(self) -> torch.dtype:
        """The dtype that is measured: few operators of a CPU have kernels for fp16."""
        return torch.float16 if self.is_gpu else torch.float32

    def allowed_s(self, seconds: float) -> float:
        """Return how long something may take: in a rehearsal longer, on a CPU that is busy."""
        return seconds if self.is_gpu else seconds * _PATIENCE

    def wait(self) -> None:
        """Wait until all that was launched has run."""
        if self.is_gpu:
            torch.cuda.synchronize()

    def seconds_of(self, run: Callable[[], object], rounds: int = _ROUNDS) -> float:
        """Return the median time of a run on the device, warmed up."""
        if not self.is_gpu:
            return _seconds_here(run)
        for _ in range(_WARM_UP):
            run()
        self.wait()
        return median(_seconds_there(run) for _ in range(rounds))


def _seconds_here(run: Callable[[], object]) -> float:
    began_s = time.perf_counter()
    run()
    return time.perf_counter() - began_s


def _seconds_there(run: Callable[[], object]) -> float:
    start, end = _event(), _event()
    start.record()
    run()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / 1e3


def _event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]  # PyTorch's own
