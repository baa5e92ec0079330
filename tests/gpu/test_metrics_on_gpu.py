"""The metrics of a real GPU, as NVML tells them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import torch

from service.telemetry import families
from service.telemetry.gpus import Gpus, nvml
from tests.service.running import REAL, served

pytestmark = pytest.mark.gpu

ROOT = Path(__file__).parents[2]
READS = """
from service.telemetry.gpus import Gpus, nvml
from tests.gpu.test_metrics_on_gpu import users_of_cuda
before = users_of_cuda()
assert Gpus().read()
assert users_of_cuda() == before
"""


def users_of_cuda() -> int:
    """Return how many processes have started CUDA on any GPU, as the driver tells."""
    library = nvml()
    library.nvmlInit()
    try:
        handles = map(library.nvmlDeviceGetHandleByIndex, range(library.nvmlDeviceGetCount()))
        return sum(len(library.nvmlDeviceGetComputeRunningProcesses(each)) for each in handles)
    finally:
        library.nvmlShutdown()


def test_nvml_tells_of_the_gpu_that_torch_uses() -> None:
    """Its UUID is known, its memory has the size that CUDA tells, and it is up."""
    samples = Gpus().read()
    properties = torch.cuda.get_device_properties(0)
    (info,) = (
        sample
        for sample in samples
        if sample.family is families.GPU_INFO and sample.labels[1] == f"GPU-{properties.uuid}"
    )
    told = {sample.family: sample.value for sample in samples if sample.labels[0] == info.labels[0]}
    assert told[families.GPU_UP] == 1
    # NVML counts what the driver has reserved too.
    assert told[families.GPU_MEMORY_TOTAL_BYTES] == pytest.approx(properties.total_memory, rel=0.1)
    assert told[families.GPU_MEMORY_USED_BYTES] < told[families.GPU_MEMORY_TOTAL_BYTES]
    assert 0 <= told[families.GPU_UTILIZATION] <= 1


def test_reading_does_not_start_cuda() -> None:
    """A process that reads the metrics is none of those that use the GPU to compute.

    NVML itself may load CUDA's driver library, as it did on an H100.
    """
    subprocess.run([sys.executable, "-c", READS], check=True, cwd=ROOT)


def test_the_service_tells_of_its_gpu(tmp_path: Path) -> None:
    """`/metrics` has the GPU while its worker is warm, and only the worker has started CUDA."""
    before = users_of_cuda()
    with served(tmp_path, REAL, device="cuda") as service:
        text = httpx.get(f"{service.url}/metrics", trust_env=False).text
        during = users_of_cuda()
    assert 'convlast_gpu_up{gpu="0"} 1.0' in text
    assert 'convlast_gpu_memory_used_bytes{gpu="0"}' in text
    assert during == before + 1
