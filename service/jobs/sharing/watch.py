"""Which services are gone: those whose sign of life does not change any more."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

BEAT_S = 5.0
"""How often a service gives a sign of life."""

SILENCE_S = 30.0
"""After so much silence a service is gone."""

_LEAST_LOOKS = 5
"""So often the same sign must have been seen: after a time without the store, nobody is gone."""


@dataclass(frozen=True)
class _Seen:
    sign: str
    since_s: float
    looks: int


class Watch:
    """Watches signs of life, by its own clock, so that no clocks have to agree."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[str, _Seen] = {}

    def looks_at(self, signs: Mapping[str, str]) -> set[str]:
        """Look at the signs of all services, and return those that live.

        Args:
            signs: The sign of each service: any text that changes while it lives.
        """
        now_s = self._clock()
        seen = {}
        for name, sign in signs.items():
            before = self._seen.get(name)
            if before is None or before.sign != sign:
                seen[name] = _Seen(sign, now_s, 1)
            else:
                seen[name] = _Seen(sign, before.since_s, before.looks + 1)
        self._seen = seen
        return {
            name
            for name, each in seen.items()
            if now_s - each.since_s < SILENCE_S or each.looks < _LEAST_LOOKS
        }
