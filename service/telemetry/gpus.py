"""The metrics of the GPUs, read by NVML, which looks at them without starting CUDA.

NVML blocks: for milliseconds on a healthy GPU, and without end on some broken ones. So `Gpus.read`
belongs in a thread, see `service.telemetry.readings`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import structlog

from service.telemetry.families import (
    GPU_INFO,
    GPU_MEMORY_BUSY,
    GPU_MEMORY_TOTAL_BYTES,
    GPU_MEMORY_USED_BYTES,
    GPU_PERFORMANCE_STATE,
    GPU_POWER,
    GPU_PROCESSES,
    GPU_REMAP_FAILED,
    GPU_REMAP_PENDING,
    GPU_REMAPPED_ROWS,
    GPU_TEMPERATURE,
    GPU_UP,
    GPU_UTILIZATION,
    Family,
    Sample,
)

Values: TypeAlias = Iterator[tuple[Family, float, tuple[str, ...]]]

_UNSUPPORTED = (
    "NVML_ERROR_INVALID_ARGUMENT",
    "NVML_ERROR_NOT_SUPPORTED",
    "NVML_ERROR_NO_PERMISSION",
    "NVML_ERROR_FUNCTION_NOT_FOUND",
)
"""Errors which say that a GPU does not tell something. All others say that it is lost."""

_log = structlog.get_logger()


def nvml() -> Any:
    """Return NVIDIA's library.

    Raises:
        ImportError: If it is not installed.
    """
    return importlib.import_module("pynvml")


class Gpus:
    """Reads all GPUs that this process may see."""

    def __init__(self, load: Callable[[], Any] = nvml) -> None:
        """Set up without loading anything.

        Args:
            load: Returns NVIDIA's library.
        """
        self._load = load
        self._library: Any = None

    def read(self) -> list[Sample]:
        """Return the samples of all GPUs, or none where there is no NVML."""
        try:
            if self._library is None:
                library = self._load()
                # NVML stays open: on a GPU that nothing else has open, this takes seconds.
                library.nvmlInit()
                self._library = library
            count = self._library.nvmlDeviceGetCount()
        except Exception as error:
            _log.debug("the GPUs cannot be read", problem=str(error))
            self._close()
            return []
        return [sample for index in range(count) for sample in self._of(index)]

    def _of(self, index: int) -> Iterator[Sample]:
        """Yield the samples of one GPU."""
        gpu, library = str(index), self._library
        is_up = True
        for reading in _READINGS:
            try:
                handle = library.nvmlDeviceGetHandleByIndex(index)
                for family, value, more in reading(library, handle):
                    yield Sample(family, value, (gpu, *more))
            except library.NVMLError as error:
                if error.value not in [getattr(library, name) for name in _UNSUPPORTED]:
                    _log.debug("a GPU does not answer", gpu=index, problem=str(error))
                    is_up = False
                    break  # each further question may take seconds
        yield Sample(GPU_UP, is_up, (gpu,))

    def _close(self) -> None:
        """Begin anew at the next reading, since the driver may have been replaced."""
        library, self._library = self._library, None
        if library is not None:
            try:
                library.nvmlShutdown()
            except library.NVMLError as error:
                _log.debug("NVML cannot be closed", problem=str(error))


def _names(library: Any, gpu: Any) -> Values:
    uuid, name = library.nvmlDeviceGetUUID(gpu), library.nvmlDeviceGetName(gpu)
    yield GPU_INFO, 1, (str(uuid), str(name), str(library.nvmlSystemGetDriverVersion()))


def _memory(library: Any, gpu: Any) -> Values:
    memory = library.nvmlDeviceGetMemoryInfo(gpu)
    yield GPU_MEMORY_USED_BYTES, memory.used, ()
    yield GPU_MEMORY_TOTAL_BYTES, memory.total, ()


def _utilization(library: Any, gpu: Any) -> Values:
    percent = library.nvmlDeviceGetUtilizationRates(gpu)
    yield GPU_UTILIZATION, percent.gpu / 100, ()
    yield GPU_MEMORY_BUSY, percent.memory / 100, ()


def _temperature(library: Any, gpu: Any) -> Values:
    sensor = library.NVML_TEMPERATURE_GPU
    yield GPU_TEMPERATURE, library.nvmlDeviceGetTemperature(gpu, sensor), ()


def _power(library: Any, gpu: Any) -> Values:
    yield GPU_POWER, library.nvmlDeviceGetPowerUsage(gpu) / 1000, ()


def _performance_state(library: Any, gpu: Any) -> Values:
    yield GPU_PERFORMANCE_STATE, library.nvmlDeviceGetPerformanceState(gpu), ()


def _processes(library: Any, gpu: Any) -> Values:
    yield GPU_PROCESSES, len(library.nvmlDeviceGetComputeRunningProcesses(gpu)), ()


def _remapped_rows(library: Any, gpu: Any) -> Values:
    correctable, uncorrectable, is_pending, has_failed = library.nvmlDeviceGetRemappedRows(gpu)
    yield GPU_REMAPPED_ROWS, correctable, ("correctable",)
    yield GPU_REMAPPED_ROWS, uncorrectable, ("uncorrectable",)
    yield GPU_REMAP_PENDING, is_pending, ()
    yield GPU_REMAP_FAILED, has_failed, ()


_READINGS: tuple[Callable[[Any, Any], Values], ...] = (
    _names,
    _memory,
    _utilization,
    _temperature,
    _power,
    _performance_state,
    _processes,
    _remapped_rows,
)
