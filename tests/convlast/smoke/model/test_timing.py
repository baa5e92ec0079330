"""What a timing reports, tested with the little that a CPU can measure."""

from __future__ import annotations

from functools import partial

import pynvml  # type: ignore[import-untyped] # it has no annotations
import pytest
import torch
from torch import nn

from convlast.smoke.model import timing
from convlast.smoke.model.specimen import Specimen
from convlast.smoke.model.timing import Setting, pair_of, settings_for, time_pair
from tests import fake_cuda
from tests.fake_cuda import Gpu
from tests.subjects import CPU, converted_of, subject_of


def test_a_pair_is_timed_under_its_setting() -> None:
    """A timing has shape, precision and rounds; on a CPU it has no memory and is no advice."""
    subject = subject_of(lambda: nn.Sequential(nn.Conv3d(2, 4, 3)), (2, 6, 6, 6))
    make = partial(Specimen, subject, converted_of(subject), CPU)
    found = time_pair(pair_of(make, torch.float32), Setting(3, is_autocast=True), 0.0)
    assert (found.input_shape, found.autocast, found.cudnn_benchmark) == (
        [3, 2, 6, 6, 6],
        True,
        False,
    )
    assert found.rounds >= 8
    assert not found.representative
    assert (found.contiguous_peak_bytes, found.converted_peak_bytes) == (None, None)


def test_cudnn_chooses_by_trial_only_while_that_is_timed() -> None:
    """The caller's benchmark setting is restored afterwards."""
    before = torch.backends.cudnn.benchmark
    seen: list[bool] = []

    class Looking(nn.Conv3d):
        def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002  # PyTorch's name
            seen.append(torch.backends.cudnn.benchmark)
            return super().forward(input)

    subject = subject_of(lambda: nn.Sequential(Looking(2, 4, 3)), (2, 6, 6, 6))
    make = partial(Specimen, subject, converted_of(subject), CPU)
    time_pair(pair_of(make, torch.float16), Setting(1, benchmark=True), 0.0)
    assert set(seen) == {True}
    assert torch.backends.cudnn.benchmark is before


def test_both_inputs_autocast_and_the_choice_by_trial_are_timed() -> None:
    """The advice is based on the first setting: plain fp16, several samples."""
    first, *others = settings_for(2)
    assert (first.samples, first.is_autocast, first.benchmark) == (2, False, False)
    assert {each.samples for each in others} == {1, 2}
    assert any(each.is_autocast for each in others)
    assert any(each.benchmark for each in others)


def test_the_clock_is_that_of_the_gpu_that_ran(monkeypatch: pytest.MonkeyPatch) -> None:
    """NVML is asked by the GPU's UUID, since its order differs; without NVML there is no clock."""
    fake_cuda.install(monkeypatch, Gpu(uuid="fast"), Gpu(uuid="slow"))
    clocks_mhz = {"GPU-slow": 1410, "GPU-fast": 1980}
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByUUID", str)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetClockInfo", lambda gpu, kind: clocks_mhz[gpu])
    assert timing.clock_mhz(torch.device("cuda", 0)) == 1980
    assert timing.clock_mhz(torch.device("cuda", 1)) == 1410
    monkeypatch.undo()
    assert timing.clock_mhz(CPU) is None
