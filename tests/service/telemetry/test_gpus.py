"""The metrics of the GPUs, with a fake of NVIDIA's library."""

from __future__ import annotations

from functools import partial

from service.telemetry import families
from service.telemetry.families import Family, Sample
from service.telemetry.gpus import Gpus
from tests.service.telemetry.nvml import FakeNvml


def values(samples: list[Sample], family: Family) -> list[float]:
    """Return the values of a metric."""
    return [sample.value for sample in samples if sample.family is family]


def test_each_gpu_tells_its_memory_load_and_health() -> None:
    """All metrics are there for each GPU, in base units."""
    samples = Gpus(lambda: FakeNvml(gpus=2)).read()
    assert values(samples, families.GPU_UP) == [1, 1]
    assert values(samples, families.GPU_MEMORY_TOTAL_BYTES) == [85520809984] * 2
    assert values(samples, families.GPU_MEMORY_USED_BYTES) == [503316480] * 2
    assert values(samples, families.GPU_UTILIZATION) == [0.5, 0.5]
    assert values(samples, families.GPU_MEMORY_BUSY) == [0.25, 0.25]
    assert values(samples, families.GPU_POWER) == [71.5, 71.5]
    told = {sample.family for sample in samples}
    assert told == {each for each in families.FAMILIES if each.name.startswith("convlast_gpu_")}
    assert all(len(sample.labels) == len(sample.family.labels) for sample in samples)
    assert Sample(families.GPU_INFO, 1, ("1", "GPU-1", "NVIDIA H100", "580.1")) in samples


def test_nvml_is_opened_once() -> None:
    """It stays open between readings, since opening a GPU that is not in use takes seconds."""
    library = FakeNvml()
    gpus = Gpus(lambda: library)
    gpus.read()
    gpus.read()
    assert (library.begun, library.ended) == (1, 0)


def test_without_nvml_there_are_no_metrics() -> None:
    """No package, or no driver, is no error."""

    def absent() -> None:
        raise ImportError("No module named 'pynvml'")

    assert Gpus(absent).read() == []
    library = FakeNvml(failures={"Init": FakeNvml.NVML_ERROR_LIBRARY_NOT_FOUND})
    assert Gpus(lambda: library).read() == []
    assert library.ended == 0


def test_a_driver_that_was_replaced_is_opened_anew() -> None:
    """After an error of the whole library the next reading begins anew."""
    library = FakeNvml()
    gpus = Gpus(lambda: library)
    assert gpus.read()
    library.failures["DeviceGetCount"] = 1
    assert gpus.read() == []
    del library.failures["DeviceGetCount"]
    assert gpus.read()
    assert (library.begun, library.ended) == (2, 1)


def test_a_gpu_that_does_not_tell_something_is_no_lost_gpu() -> None:
    """A metric that the GPU does not support is absent, and the others are there."""
    failures = {"DeviceGetUtilizationRates": FakeNvml.NVML_ERROR_NOT_SUPPORTED}
    samples = Gpus(lambda: FakeNvml(failures=failures)).read()
    assert values(samples, families.GPU_UTILIZATION) == []
    assert values(samples, families.GPU_UP) == [1]
    assert values(samples, families.GPU_POWER) == [71.5]


def test_a_lost_gpu_is_told() -> None:
    """A GPU that the driver has lost is down, whenever it was lost."""
    for function in ("DeviceGetHandleByIndex", "DeviceGetMemoryInfo"):
        library = FakeNvml(failures={function: FakeNvml.NVML_ERROR_GPU_IS_LOST})
        samples = Gpus(partial(lambda found: found, library)).read()
        assert values(samples, families.GPU_UP) == [0]
        assert values(samples, families.GPU_MEMORY_TOTAL_BYTES) == []
