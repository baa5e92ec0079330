from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks import machine
from tests import fake_cuda
from tests.fake_cuda import Gpu

PROGRAM = """#!/bin/sh
case "$*" in
*"--id GPU-fast") echo "580.65.06, 1980, 2619, 700.00" ;;
*) echo "No devices were found"; exit 6 ;;
esac
"""


def test_the_clocks_are_those_of_the_gpu_that_is_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """NVIDIA's program is asked by name, as it counts in another order; what it lacks is null."""
    program = tmp_path / "nvidia-smi"
    program.write_text(PROGRAM)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    fake_cuda.install(monkeypatch, Gpu(uuid="other"), Gpu("NVIDIA H100", uuid="fast"))
    found = machine.describe_gpu(torch.device("cuda", 1))
    assert (found["gpu"], found["gpu_bytes"]) == ("NVIDIA H100", 80 << 30)
    assert (found["max_sm_mhz"], found["max_memory_mhz"]) == ("1980", "2619")
    assert machine.describe_gpu(torch.device("cuda", 0))["max_sm_mhz"] is None
