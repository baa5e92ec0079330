"""A fake of NVIDIA's library: GPUs that answer, refuse, or are lost."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace


class NVMLError(Exception):
    """The library's error, with its number."""

    def __init__(self, value: int) -> None:
        self.value = value
        super().__init__(f"NVML error {value}")


@dataclass
class FakeNvml:
    """The functions that the service calls.

    Attributes:
        gpus: How many GPUs there are.
        failures: The number of the error that a function raises, by its name without `nvml`.
        begun: How often it was opened.
        ended: How often it was closed.
    """

    gpus: int = 1
    failures: dict[str, int] = field(default_factory=dict)
    begun: int = 0
    ended: int = 0

    NVMLError = NVMLError
    NVML_ERROR_INVALID_ARGUMENT = 2
    NVML_ERROR_NOT_SUPPORTED = 3
    NVML_ERROR_NO_PERMISSION = 4
    NVML_ERROR_FUNCTION_NOT_FOUND = 13
    NVML_ERROR_GPU_IS_LOST = 15
    NVML_ERROR_LIBRARY_NOT_FOUND = 12
    NVML_TEMPERATURE_GPU = 0

    def _may_fail(self, name: str) -> None:
        if name in self.failures:
            raise NVMLError(self.failures[name])

    def nvmlInit(self) -> None:  # noqa: N802  # the library's name, as below
        """Open it."""
        self._may_fail("Init")
        self.begun += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        """Close it."""
        self.ended += 1

    def nvmlSystemGetDriverVersion(self) -> str:  # noqa: N802
        """Return the version of the driver."""
        return "580.1"

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        """Return how many GPUs there are."""
        self._may_fail("DeviceGetCount")
        return self.gpus

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        """Return the handle of a GPU."""
        self._may_fail("DeviceGetHandleByIndex")
        return index

    def nvmlDeviceGetUUID(self, gpu: int) -> str:  # noqa: N802
        """Return the UUID of a GPU."""
        return f"GPU-{gpu}"

    def nvmlDeviceGetName(self, gpu: int) -> str:  # noqa: N802
        """Return the name of a GPU."""
        return "NVIDIA H100"

    def nvmlDeviceGetMemoryInfo(self, gpu: int) -> SimpleNamespace:  # noqa: N802
        """Return bytes."""
        self._may_fail("DeviceGetMemoryInfo")
        return SimpleNamespace(total=85520809984, used=503316480, free=85017493504)

    def nvmlDeviceGetUtilizationRates(self, gpu: int) -> SimpleNamespace:  # noqa: N802
        """Return percents."""
        self._may_fail("DeviceGetUtilizationRates")
        return SimpleNamespace(gpu=50, memory=25)

    def nvmlDeviceGetTemperature(self, gpu: int, sensor: int) -> int:  # noqa: N802
        """Return degrees."""
        return 41

    def nvmlDeviceGetPowerUsage(self, gpu: int) -> int:  # noqa: N802
        """Return milliwatts."""
        return 71500

    def nvmlDeviceGetPerformanceState(self, gpu: int) -> int:  # noqa: N802
        """Return the number of the state."""
        return 0

    def nvmlDeviceGetComputeRunningProcesses(self, gpu: int) -> list[int]:  # noqa: N802
        """Return the processes."""
        return [1, 2]

    def nvmlDeviceGetRemappedRows(self, gpu: int) -> tuple[int, int, int, int]:  # noqa: N802
        """Return rows, and whether more are pending or one has failed."""
        return 3, 1, 0, 0
