"""Every metric of the service: its name, type, labels and meaning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily


@dataclass(frozen=True)
class Family:
    """A metric, with a sample for each combination of its labels.

    Attributes:
        name: Its name, as Prometheus reads it.
        kind: Its type.
        meaning: What it says, in a sentence.
        labels: The names of its labels.
        buckets: The upper bounds of the buckets of a histogram.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    meaning: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    def empty(self) -> CounterMetricFamily | GaugeMetricFamily:
        """Return the family without samples, for a collector."""
        kind = CounterMetricFamily if self.kind == "counter" else GaugeMetricFamily
        return kind(self.name, self.meaning, labels=self.labels)


@dataclass(frozen=True)
class Sample:
    """A value of a metric.

    Attributes:
        family: The metric.
        value: The value.
        labels: The values of its labels, in their order.
    """

    family: Family
    value: float
    labels: tuple[str, ...] = ()


_JOB_S = (0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000)
_STAGE_S = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000)
_REQUEST_S = (0.005, 0.025, 0.1, 0.5, 2.5, 10, 30, 100, 300, 1000, 3600)

BUILD_INFO = Family(
    "convlast_build_info",
    "gauge",
    "1, with the version, the commit and Python's version.",
    ("version", "revision", "python"),
)
TORCH_INFO = Family(
    "convlast_torch_info",
    "gauge",
    "1, with the versions of torch, CUDA and cuDNN, once a worker is warm.",
    ("version", "cuda", "cudnn"),
)
READY = Family("convlast_ready", "gauge", "1 if `/readyz` answers 200: a job would be run.")
PART_READY = Family(
    "convlast_part_ready",
    "gauge",
    "1 if this part is ready: `converters`, `inspectors` or `storage`.",
    ("part",),
)
DRAINING = Family(
    "convlast_draining", "gauge", "1 after SIGTERM, while admitted jobs are finished."
)
WARNINGS = Family("convlast_warnings", "gauge", "Warnings in `/readyz`.")
WALLS = Family(
    "convlast_sandbox_wall",
    "gauge",
    "1 if this wall of the workers' sandbox is in place, 0 if it is missing.",
    ("workers", "wall"),
)

REQUESTS = Family(
    "convlast_requests_total",
    "counter",
    "Requests answered, by route, status and problem code (`none`: no problem). Status 499: the "
    "client disconnected.",
    ("method", "route", "status", "code"),
)
REQUEST_S = Family(
    "convlast_request_duration_seconds",
    "histogram",
    "Wall time of a request, from its head to the last byte of the answer.",
    ("method", "route"),
    _REQUEST_S,
)
RECEIVED_BYTES = Family("convlast_received_bytes_total", "counter", "Bytes of bodies received.")
SENT_BYTES = Family("convlast_sent_bytes_total", "counter", "Bytes of bodies sent.")

JOBS_ENDED = Family(
    "convlast_jobs_ended_total",
    "counter",
    "Jobs that have ended, by state, verdict (`none`: there is no report) and problem code "
    "(`none`: no problem).",
    ("verb", "state", "verdict", "code"),
)
JOB_S = Family(
    "convlast_job_duration_seconds",
    "histogram",
    "Wall time of a job in its worker, without its upload and its wait; jobs that waited to the "
    "end are left out.",
    ("verb", "state"),
    _JOB_S,
)
STAGE_S = Family(
    "convlast_stage_seconds",
    "histogram",
    "Wall time of each stage of a job, of jobs that failed or were cancelled too. No stage "
    "contains another.",
    ("verb", "stage"),
    _STAGE_S,
)
JOBS = Family("convlast_jobs", "gauge", "Jobs by state, the kept ones too.", ("state",))
WAITING = Family("convlast_jobs_waiting", "gauge", "Jobs that wait for a lane.", ("workers",))

_OF_DEVICE = ("workers", "device")
LANES = Family("convlast_device_lanes", "gauge", "Jobs that a device can run at once.", _OF_DEVICE)
LANES_READY = Family(
    "convlast_device_ready", "gauge", "Lanes of a device that take jobs.", _OF_DEVICE
)
LANES_BUSY = Family(
    "convlast_device_busy", "gauge", "Lanes of a device that run a job.", _OF_DEVICE
)
DEVICE_JOBS = Family(
    "convlast_device_jobs_total", "counter", "Jobs that a device has begun.", _OF_DEVICE
)
DEVICE_FAILURES = Family(
    "convlast_device_failures_total",
    "counter",
    "How often a device was found not to work.",
    _OF_DEVICE,
)
WORKER_STARTS = Family(
    "convlast_worker_starts_total",
    "counter",
    "Worker processes that were started: one for each job.",
    _OF_DEVICE,
)
WORKER_ENDS = Family(
    "convlast_worker_ends_total",
    "counter",
    "Worker processes that have ended. Their job was `answered`, `cancelled`, `timed-out`, "
    "`crashed`, `out-of-memory`, `device-lost` or `failed`; or they had no job: `died-idle`, "
    "`no-warm-up`, `no-probe`, `dismissed` (not needed).",
    (*_OF_DEVICE, "cause"),
)

PLACES_TAKEN = Family("convlast_places_taken", "gauge", "Requests that upload, wait or run.")
PLACES_LIMIT = Family(
    "convlast_places_limit",
    "gauge",
    "Limit of `convlast_places_taken`: `CONVLAST_QUEUE_SIZE`, and one for each lane.",
)
PENDING_JOBS = Family("convlast_pending_jobs", "gauge", "Asynchronous jobs that wait or run.")
PENDING_JOBS_LIMIT = Family(
    "convlast_pending_jobs_limit",
    "gauge",
    "Limit of `convlast_pending_jobs`: `CONVLAST_PENDING_JOBS`.",
)
FOLLOWERS = Family("convlast_followers", "gauge", "Requests that wait for news of a job.")
FOLLOWERS_LIMIT = Family(
    "convlast_followers_limit",
    "gauge",
    "Limit of `convlast_followers`: `CONVLAST_MAX_FOLLOWERS`.",
)
DOWNLOADS = Family("convlast_downloads", "gauge", "Downloads in progress.")
DOWNLOADS_LIMIT = Family(
    "convlast_downloads_limit",
    "gauge",
    "Limit of `convlast_downloads`: `CONVLAST_MAX_DOWNLOADS`.",
)
CONNECTIONS = Family("convlast_connections", "gauge", "Open connections.")
CONNECTIONS_LIMIT = Family(
    "convlast_connections_limit",
    "gauge",
    "Limit of `convlast_connections`: `CONVLAST_MAX_CONNECTIONS`.",
)
WORK_BYTES = Family("convlast_work_bytes", "gauge", "Disk quota taken by running jobs.")
WORK_LIMIT_BYTES = Family(
    "convlast_work_limit_bytes",
    "gauge",
    "Limit of `convlast_work_bytes`: `CONVLAST_WORK_BYTES`.",
)
STORE_BYTES = Family(
    "convlast_store_bytes", "gauge", "Bytes of finished jobs: their files and checkpoints."
)
STORE_LIMIT_BYTES = Family(
    "convlast_store_limit_bytes",
    "gauge",
    "Limit of `convlast_store_bytes`: `CONVLAST_STORE_BYTES`. A full store is normal: the oldest "
    "jobs are removed.",
)
MEMORY_BYTES = Family(
    "convlast_memory_reserved_bytes", "gauge", "Memory that running jobs may use, all together."
)
MEMORY_LIMIT_BYTES = Family(
    "convlast_memory_limit_bytes",
    "gauge",
    "Limit of `convlast_memory_reserved_bytes`: `CONVLAST_MEMORY_BYTES`.",
)
DISK_FREE_BYTES = Family(
    "convlast_disk_free_bytes", "gauge", "Free bytes on the disk of the work folder."
)
DISK_SIZE_BYTES = Family(
    "convlast_disk_size_bytes", "gauge", "Size of the disk of the work folder."
)

GPU_UP = Family(
    "convlast_gpu_up",
    "gauge",
    "1 if NVML reaches the GPU, 0 if the driver has lost it. All `convlast_gpu_` metrics are "
    "absent where there is no NVML.",
    ("gpu",),
)
GPU_INFO = Family(
    "convlast_gpu_info",
    "gauge",
    "1, with the UUID and the name of the GPU, and the version of the driver.",
    ("gpu", "uuid", "name", "driver"),
)
GPU_MEMORY_USED_BYTES = Family(
    "convlast_gpu_memory_used_bytes",
    "gauge",
    "Memory of the GPU that is used, by other programs too.",
    ("gpu",),
)
GPU_MEMORY_TOTAL_BYTES = Family(
    "convlast_gpu_memory_total_bytes", "gauge", "Memory of the GPU.", ("gpu",)
)
GPU_UTILIZATION = Family(
    "convlast_gpu_utilization_ratio",
    "gauge",
    "Part of the last moment in which a kernel ran, 0 to 1.",
    ("gpu",),
)
GPU_MEMORY_BUSY = Family(
    "convlast_gpu_memory_busy_ratio",
    "gauge",
    "Part of the last moment in which the GPU's memory was read or written, 0 to 1.",
    ("gpu",),
)
GPU_TEMPERATURE = Family(
    "convlast_gpu_temperature_celsius", "gauge", "Temperature of the GPU.", ("gpu",)
)
GPU_POWER = Family("convlast_gpu_power_watts", "gauge", "Power that the GPU draws.", ("gpu",))
GPU_PERFORMANCE_STATE = Family(
    "convlast_gpu_performance_state",
    "gauge",
    "Performance state of the GPU, from 0 (fastest) to 15.",
    ("gpu",),
)
GPU_PROCESSES = Family(
    "convlast_gpu_processes", "gauge", "Processes that have a CUDA context on the GPU.", ("gpu",)
)
GPU_REMAPPED_ROWS = Family(
    "convlast_gpu_remapped_rows",
    "gauge",
    "Rows of the GPU's memory that were replaced by spare ones, by kind of memory error.",
    ("gpu", "error"),
)
GPU_REMAP_PENDING = Family(
    "convlast_gpu_remap_pending",
    "gauge",
    "1 if a row is replaced at the next reset of the GPU.",
    ("gpu",),
)
GPU_REMAP_FAILED = Family(
    "convlast_gpu_remap_failed",
    "gauge",
    "1 if a row could not be replaced: the GPU is broken.",
    ("gpu",),
)

FAMILIES: tuple[Family, ...] = tuple(
    each for each in list(globals().values()) if isinstance(each, Family)
)
"""All of them, in the order of the reference."""
