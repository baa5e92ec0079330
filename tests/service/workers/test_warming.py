from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from convlast.errors import OutOfMemoryError
from convlast.smoke.out_of_memory import NO_ENGINE
from service.workers import conversion, warming
from service.workers.warming import STEPS, convolve, steps_on, warm_up
from tests.subjects import CPU


class Convolutions(TorchDispatchMode):
    """Records dtype, layout and transposition of each convolution."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # PyTorch's
        self.seen: set[tuple[torch.dtype, bool, bool]] = set()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Record the convolution, and run it."""
        if func is torch.ops.aten.convolution.default:
            weight = args[1]
            is_last = weight.is_contiguous(memory_format=torch.channels_last_3d)
            self.seen.add((weight.dtype, is_last, args[6]))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("device", "dtypes"),
    [("cpu", {torch.float32}), ("meta", {torch.float16, torch.float32})],
)
def test_each_kind_of_convolution_is_warmed_up(device: str, dtypes: set[torch.dtype]) -> None:
    """Each native dtype is convolved in both layouts, also transposed; meta acts as a GPU."""
    with Convolutions() as convolutions:
        convolve(torch.device(device))
    both = (False, True)
    assert convolutions.seen == {(dtype, a, b) for dtype in dtypes for a in both for b in both}


@pytest.mark.parametrize("name", sorted(set(STEPS) - {"clock"}))
def test_each_step_runs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step but the GPU clock also runs on a CPU, without a hidden error."""
    monkeypatch.setattr(warming, "_allowed_to_fail", nullcontext)
    STEPS[name](CPU)


def test_a_gpu_gets_every_step() -> None:
    """A GPU gets every step, and a CPU only the one that its jobs need."""
    assert steps_on(torch.device("cuda", 0)) == STEPS
    assert set(steps_on(CPU)) == {"convolutions"}


def test_a_library_that_is_absent_costs_no_readiness(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step whose library is absent, such as NVRTC, is skipped."""

    def absent(values: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("Error in dlopen: libnvrtc.so.13: cannot open shared object file")

    monkeypatch.setattr(torch.special, "bessel_j0", absent)
    STEPS["compiler"](CPU)


@pytest.mark.parametrize(("device", "is_fatal"), [("cpu", False), ("meta", True)])
def test_only_fp16_needs_a_kernel_in_each_layout(
    monkeypatch: pytest.MonkeyPatch, device: str, *, is_fatal: bool
) -> None:
    """A channels-last kernel may be missing for fp32, not for fp16; meta acts as a GPU."""

    def picky(volume: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        if weight.stride(1) == 1:
            raise RuntimeError(f"GET was {NO_ENGINE}")
        return volume

    monkeypatch.setattr(warming, "CONVOLUTIONS", (picky,))
    with pytest.raises(RuntimeError) if is_fatal else nullcontext():
        convolve(torch.device(device))


def test_a_device_that_does_not_compute_is_not_warm(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error of a device that does not compute is raised."""

    def broken(volume: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("no engine")

    monkeypatch.setattr(warming, "CONVOLUTIONS", (broken,))
    with pytest.raises(RuntimeError, match="no engine"):
        warm_up(CPU)


def test_a_device_that_is_full_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error of a full device says so, for `/readyz`."""

    def full(device: torch.device) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(conversion, "warm_up", full)
    with pytest.raises(OutOfMemoryError, match="Memory ran out on cpu"):
        conversion.warm("cpu")
