"""Whether a job that comes now would be run, and why not: for `/readyz` and the metrics."""

from __future__ import annotations

from dataclasses import dataclass

from service.workers import Health


@dataclass(frozen=True)
class Readiness:
    """What was found.

    Attributes:
        converters: The workers of conversions.
        inspectors: Those of inspections.
        storage: Why the work folder cannot be used, if it cannot.
        keys: What is wrong with the file of keys, if something is.
        is_draining: Whether the service ends, and takes no new work.
    """

    converters: Health
    inspectors: Health
    storage: str | None
    keys: str | None
    is_draining: bool

    @property
    def problems(self) -> list[str]:
        """Why a job would not be run."""
        found = [
            *(["The service is draining."] if self.is_draining else []),
            *(
                each.problem or "No worker is ready."
                for each in (self.converters, self.inspectors)
                if not each.ready
            ),
            *([self.storage] if self.storage else []),
        ]
        return list(dict.fromkeys(found))

    @property
    def warnings(self) -> list[str]:
        """What somebody should look at, though jobs are run."""
        return [
            *self.converters.known_trouble,
            *_failed_devices(self.converters),
            *([self.keys] if self.keys else []),
        ]


def _failed_devices(health: Health) -> list[str]:
    """Name the devices that do not work, while others do."""
    failed = [lane for lane in health.lanes if lane.problem and not lane.ready]
    return [f"{lane.device}: {lane.problem}" for lane in failed] if health.ready else []
