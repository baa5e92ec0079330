"""What is known of a device from the last workers that were started or probed on it."""

from __future__ import annotations

import time
from typing import Any

import structlog

from convlast.errors import ConvlastError
from service.errors import NotReadyError
from service.sandbox.wall import Wall
from service.workers import known_trouble
from service.workers.messages import Ready

_log = structlog.get_logger()


class DeviceState:
    """The facts about a device, and why it does not work, if it does not."""

    def __init__(self, device: str, logged: set[tuple[str, str]]) -> None:
        """Begin without knowing anything.

        Args:
            device: The name that the device has in the settings.
            logged: What has been logged; each text about a device or a wall is logged once.
        """
        self._device, self._logged = device, logged
        self.facts: dict[str, Any] = {}
        self.walls: list[Wall] = []
        self.problem: str | None = "The first worker is warming up."
        self.has_failed = False
        """Whether the device did not work at the last try."""
        self.failures = 0
        """How often it did not work."""
        self.retry_at = 0.0
        """When a device that has failed is tried again, on the monotonic clock."""
        self._probed_at: float | None = None

    @property
    def name(self) -> str:
        """The device's name, as a worker has reported it."""
        reported = self.facts.get("device")
        return reported if isinstance(reported, str) else self._device

    @property
    def gpu(self) -> str | None:
        """The name of the GPU, if it is one."""
        reported = self.facts.get("gpu")
        return reported if isinstance(reported, str) else None

    @property
    def since_probe_s(self) -> float | None:
        """Seconds since the device has answered."""
        return None if self._probed_at is None else time.monotonic() - self._probed_at

    def fail(self, error: Exception, pause_s: float) -> None:
        """Note why the device does not work, and when it is tried again."""
        # Messages of the system may contain a path, so they are only logged.
        is_ours = isinstance(error, ConvlastError)
        self.problem = str(error) if is_ours else "No worker could be started."
        self.has_failed = True
        self.failures += 1
        self.retry_at = time.monotonic() + pause_s
        _log.warning("no worker is ready", device=self.name, problem=str(error))

    def note(self, ready: Ready, *, sandbox_required: bool) -> None:
        """Note that the device has answered, and log what is new.

        Raises:
            NotReadyError: If a wall is missing and the sandbox is required.
        """
        self.facts, self.walls = ready.facts, ready.walls
        for trouble in known_trouble(ready.facts):
            if self._is_new(self.name, trouble):
                _log.warning("the device has a known trouble", device=self.name, trouble=trouble)
        missing = [wall for wall in ready.walls if not wall.held]
        for wall in missing:
            if self._is_new(wall.name, wall.detail):
                _log.warning("a wall of the sandbox is missing", wall=wall.name, why=wall.detail)
        if missing and sandbox_required:
            raise NotReadyError(
                f"The sandbox lacks {', '.join(wall.name for wall in missing)}.",
                remedy="Unset CONVLAST_REQUIRE_SANDBOX to run jobs without it.",
            )
        self.problem, self.has_failed, self._probed_at = None, False, time.monotonic()

    def _is_new(self, subject: str, text: str) -> bool:
        """Return whether this was not logged yet."""
        is_new = (subject, text) not in self._logged
        self._logged.add((subject, text))
        return is_new
