"""A listener that notes what it hears of a job."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Heard:
    """What was heard of a job: its places in the queue, its devices, and its progress."""

    places: list[int] = field(default_factory=list)
    devices: list[str] = field(default_factory=list)
    progress: list[tuple[str, int, int]] = field(default_factory=list)

    def waits(self, place: int) -> None:
        """Note a place in the queue."""
        self.places.append(place)

    async def begins(self, device: str) -> None:
        """Note a device."""
        self.devices.append(device)

    def goes_on(self, stage: str, done: int, total: int) -> None:
        """Note progress."""
        self.progress.append((stage, done, total))
