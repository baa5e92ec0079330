"""The Prometheus metrics. Each application has a registry of its own."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from service.workers import Health

_STAGE_BUCKETS_S = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000)


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

    def watch(self, name: str, meaning: str, value: Callable[[], float]) -> None:
        """Add a gauge whose value is computed when the metrics are read."""
        Gauge(name, meaning, registry=self.registry).set_function(value)

    def exposition(self, health: Health) -> bytes:
        """Return all metrics in Prometheus' text format."""
        for kind in ("free", "total"):
            size = health.facts.get(f"memory_{kind}_bytes")
            if isinstance(size, int):
                self.device_memory_bytes.labels(kind).set(size)
        return generate_latest(self.registry)
