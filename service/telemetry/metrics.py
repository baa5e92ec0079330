"""The Prometheus metrics. Each application has a registry of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import Metric

from service.telemetry import families
from service.telemetry.families import FAMILIES, Family, Sample
from service.workers import Health

# Otherwise each counter has a second time series, `_created`.
disable_created_metrics()  # type: ignore[no-untyped-call]  # it has no annotations


class _Collector:
    """Collects samples that are computed when the metrics are read."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics that have samples."""
        for family in FAMILIES:
            metric = family.empty()
            for sample in self.samples:
                if sample.family is family:
                    metric.add_metric(sample.labels, sample.value)
            if metric.samples:
                yield metric


class Metrics:
    """The metrics of one application."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = self._counter(families.REQUESTS)
        self.stage_s = self._histogram(families.STAGE_S)
        self.received_bytes = self._counter(families.RECEIVED_BYTES)
        self.sent_bytes = self._counter(families.SENT_BYTES)
        self._watched: list[Callable[[], Iterable[Sample]]] = []
        self._collector = _Collector()
        self.registry.register(self._collector)

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
        for device in dict.fromkeys(lane.device for lane in health.lanes):
            its = [lane for lane in health.lanes if lane.device == device]
            labels = (workers, device)
            yield Sample(families.LANES, len(its), labels)
            yield Sample(families.LANES_READY, sum(lane.ready for lane in its), labels)
            yield Sample(families.LANES_BUSY, sum(lane.busy for lane in its), labels)
            yield Sample(families.DEVICE_JOBS, sum(lane.jobs for lane in its), labels)
