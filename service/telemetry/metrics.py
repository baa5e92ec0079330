"""The Prometheus metrics. Each application has a registry of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from service.workers import Health

_STAGE_BUCKETS_S = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000)


_LABELS = ("workers", "device")


class _Lanes:
    """Collects the metrics of each device from the health of the workers.

    Several lanes may have the same device, the CPU; then they are added up.
    """

    def __init__(self) -> None:
        self.healths: Mapping[str, Health] = {}

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics, with a sample for each device."""
        lanes = GaugeMetricFamily(
            "convlast_device_lanes", "Jobs that a device can run at once.", labels=_LABELS
        )
        ready = GaugeMetricFamily(
            "convlast_device_ready", "Lanes of a device that take jobs.", labels=_LABELS
        )
        busy = GaugeMetricFamily(
            "convlast_device_busy", "Lanes of a device that run a job.", labels=_LABELS
        )
        jobs = CounterMetricFamily(
            "convlast_device_jobs", "Jobs that a device has begun.", labels=_LABELS
        )
        waiting = GaugeMetricFamily(
            "convlast_jobs_waiting", "Jobs that wait for a lane.", labels=_LABELS[:1]
        )
        for workers, health in self.healths.items():
            waiting.add_metric([workers], health.waiting)
            for device in dict.fromkeys(lane.device for lane in health.lanes):
                its = [lane for lane in health.lanes if lane.device == device]
                labels = [workers, device]
                lanes.add_metric(labels, len(its))
                ready.add_metric(labels, sum(lane.ready for lane in its))
                busy.add_metric(labels, sum(lane.busy for lane in its))
                jobs.add_metric(labels, sum(lane.jobs for lane in its))
        yield from (lanes, ready, busy, jobs, waiting)


def _value_of(values: Callable[[], Mapping[Any, float]], name: Any) -> float:
    return values()[name]


class Metrics:
    """The metrics of one application."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "convlast_requests",
            "Requests answered, by route, status and problem code (none: no problem).",
            ["method", "route", "status", "code"],
            registry=self.registry,
        )
        self.stage_s = Histogram(
            "convlast_stage_seconds",
            "Wall time of each stage of a job.",
            ["stage"],
            buckets=_STAGE_BUCKETS_S,
            registry=self.registry,
        )
        self.received_bytes = Counter(
            "convlast_received_bytes", "Bytes of bodies received.", registry=self.registry
        )
        self.sent_bytes = Counter(
            "convlast_sent_bytes", "Bytes of bodies sent.", registry=self.registry
        )
        self.device_memory_bytes = Gauge(
            "convlast_device_memory_bytes",
            "Memory of the device at the last probe.",
            ["kind"],
            registry=self.registry,
        )
        self._lanes = _Lanes()
        self.registry.register(self._lanes)

    def watch(self, name: str, meaning: str, value: Callable[[], float]) -> None:
        """Add a gauge whose value is computed when the metrics are read."""
        Gauge(name, meaning, registry=self.registry).set_function(value)

    def watch_by(
        self, name: str, meaning: str, label: str, values: Callable[[], Mapping[Any, float]]
    ) -> None:
        """Add a gauge with a sample for each value of a label, computed when they are read."""
        gauge = Gauge(name, meaning, [label], registry=self.registry)
        for each in values():
            gauge.labels(each).set_function(partial(_value_of, values, each))

    def exposition(self, *, converters: Health, inspectors: Health) -> bytes:
        """Return all metrics in Prometheus' text format."""
        self._lanes.healths = {"converters": converters, "inspectors": inspectors}
        for kind in ("free", "total"):
            size = converters.facts.get(f"memory_{kind}_bytes")
            if isinstance(size, int):
                self.device_memory_bytes.labels(kind).set(size)
        return generate_latest(self.registry)
