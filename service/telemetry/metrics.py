"""The Prometheus metrics. Each application has a registry of its own."""

from __future__ import annotations

import platform
from collections import Counter as Counts
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import product
from typing import Any, get_args

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from convlast.errors import VerificationError
from convlast.jobs import JobVerb
from convlast.report import Verdict
from convlast.version import __version__
from service.jobs.records import Outcome
from service.problems import TABLE
from service.storage.workspace import StorageState
from service.telemetry import families
from service.telemetry.families import Family, Sample
from service.telemetry.readiness import Readiness
from service.workers import Health, WorkerEnd

_WHOLE = "convert"
"""The name of a job's time in its worker, which contains the stages there."""

_ENDS = (
    *(("succeeded", verdict, "none") for verdict in get_args(Verdict)),
    *(("failed", "none", code) for code, row in TABLE.items() if row.status >= 500),
    ("failed", "failed", VerificationError.code),
    ("cancelled", "none", "none"),
)
"""Ends of a job that somebody may want to hear of."""

# Otherwise each counter has a second time series, `_created`.
disable_created_metrics()  # type: ignore[no-untyped-call]  # it has no annotations


class _Collector:
    """Collects samples that are computed when the metrics are read."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics that have samples."""
        found: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
        for sample in self.samples:
            family = sample.family
            if family.name not in found:
                found[family.name] = family.empty()
            found[family.name].add_metric(sample.labels, sample.value)
        yield from found.values()


class Metrics:
    """The metrics of one application."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = self._counter(families.REQUESTS)
        self.request_s = self._histogram(families.REQUEST_S)
        self.jobs_ended = self._counter(families.JOBS_ENDED)
        self.job_s = self._histogram(families.JOB_S)
        self.stage_s = self._histogram(families.STAGE_S)
        self.received_bytes = self._counter(families.RECEIVED_BYTES)
        self.sent_bytes = self._counter(families.SENT_BYTES)
        self._watched: list[Callable[[], Iterable[Sample]]] = []
        self._collector = _Collector()
        self.registry.register(self._collector)
        ProcessCollector(registry=self.registry)
        # Otherwise `increase` would miss the first job of each kind.
        for verb, (state, verdict, code) in product(get_args(JobVerb), _ENDS):
            self.jobs_ended.labels(verb, state, verdict, code)

    def _counter(self, family: Family) -> Counter:
        return Counter(family.name, family.meaning, family.labels, registry=self.registry)

    def _histogram(self, family: Family) -> Histogram:
        return Histogram(
            family.name,
            family.meaning,
            family.labels,
            buckets=family.buckets,
            registry=self.registry,
        )

    def watch(self, family: Family, value: Callable[[], float]) -> None:
        """Add a gauge whose value is computed when the metrics are read."""
        self._watched.append(lambda: [Sample(family, value())])

    def watch_by(self, family: Family, values: Callable[[], Mapping[Any, float]]) -> None:
        """Add a gauge with a sample for each value of its label, computed when they are read."""
        self._watched.append(
            lambda: [Sample(family, value, (label,)) for label, value in values().items()]
        )

    def refused(self, code: str, status: int) -> None:
        """Count a request that was refused before the application had it."""
        self.requests.labels("other", "unmatched", str(status), code).inc()

    def ended(self, verb: JobVerb, outcome: Outcome) -> None:
        """Count a job that has ended, and time its stages."""
        verdict, code = outcome.verdict or "none", outcome.code or "none"
        self.jobs_ended.labels(verb, outcome.state, verdict, code).inc()
        stages_s = dict(outcome.seconds)
        if (job_s := stages_s.pop(_WHOLE, None)) is not None:
            self.job_s.labels(verb, outcome.state).observe(job_s)
        for stage, stage_s in stages_s.items():
            self.stage_s.labels(verb, stage).observe(stage_s)

    def exposition(self, samples: Iterable[Sample]) -> bytes:
        """Return all metrics in Prometheus' text format.

        Args:
            samples: Those that are not watched.
        """
        watched = [sample for watch in self._watched for sample in watch()]
        self._collector.samples = [*watched, *samples]
        return generate_latest(self.registry)


def of_workers(healths: Mapping[str, Health]) -> Iterator[Sample]:
    """Yield the samples of the workers, for each device.

    Several lanes may have the same device, the CPU; then they are added up.

    Args:
        healths: The health of the workers of each kind.
    """
    for workers, health in healths.items():
        yield Sample(families.WAITING, health.waiting, (workers,))
        for wall in health.walls:
            yield Sample(families.WALLS, wall.held, (workers, wall.name))
        for device in dict.fromkeys(lane.device for lane in health.lanes):
            its = [lane for lane in health.lanes if lane.device == device]
            labels = (workers, device)
            yield Sample(families.LANES, len(its), labels)
            yield Sample(families.LANES_READY, sum(lane.ready for lane in its), labels)
            yield Sample(families.LANES_BUSY, sum(lane.busy for lane in its), labels)
            yield Sample(families.DEVICE_JOBS, sum(lane.jobs for lane in its), labels)
            yield Sample(families.DEVICE_FAILURES, sum(lane.failures for lane in its), labels)
            yield Sample(families.WORKER_STARTS, sum(lane.worker_starts for lane in its), labels)
            ends = sum((Counts(lane.worker_ends) for lane in its), Counts())
            for cause in get_args(WorkerEnd):
                yield Sample(families.WORKER_ENDS, ends[cause], (*labels, cause))


def of_build(revision: str) -> Sample:
    """Return the sample of what runs here."""
    return Sample(families.BUILD_INFO, 1, (__version__, revision, platform.python_version()))


def of_readiness(readiness: Readiness) -> Iterator[Sample]:
    """Yield the samples of the service's parts."""
    converters, inspectors = readiness.converters, readiness.inspectors
    yield Sample(families.READY, not readiness.problems)
    yield Sample(families.PART_READY, converters.ready, ("converters",))
    yield Sample(families.PART_READY, inspectors.ready, ("inspectors",))
    yield Sample(families.PART_READY, readiness.storage is None, ("storage",))
    yield Sample(families.DRAINING, readiness.is_draining)
    yield Sample(families.WARNINGS, len(readiness.warnings))
    if facts := converters.facts:
        versions = (str(facts.get(name) or "none") for name in ("torch", "cuda", "cudnn"))
        yield Sample(families.TORCH_INFO, 1, tuple(versions))
    yield from of_workers({"converters": converters, "inspectors": inspectors})


def of_disk(storage: StorageState) -> Iterator[Sample]:
    """Yield the samples of the disk, as far as they are known."""
    if storage.free_bytes is not None and storage.size_bytes is not None:
        yield Sample(families.DISK_FREE_BYTES, storage.free_bytes)
        yield Sample(families.DISK_SIZE_BYTES, storage.size_bytes)
