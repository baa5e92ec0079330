"""The time that a smoke may take, all its parts together."""

from __future__ import annotations

import math
from dataclasses import dataclass
from time import monotonic


class TimeUp(BaseException):
    """The time is up. Not an `Exception`, which a model might catch."""


@dataclass(frozen=True)
class TimeLimit:
    """When a smoke has to end.

    Attributes:
        seconds: How long it may take in all; None for as long as it likes.
        end_s: When it has to end, by `time.monotonic`.
    """

    seconds: float | None = None
    end_s: float = math.inf

    @classmethod
    def of(cls, seconds: float | None) -> TimeLimit:
        """Return the limit of a smoke that begins now.

        >>> TimeLimit.of(None).is_up(), TimeLimit.of(0).is_up()
        (False, True)
        """
        return cls() if seconds is None else cls(seconds, monotonic() + seconds)

    def remaining_s(self) -> float:
        """Return the seconds that are left; infinite if there is no limit."""
        return max(self.end_s - monotonic(), 0.0)

    def is_up(self) -> bool:
        """Say whether no time is left."""
        return monotonic() >= self.end_s

    def check(self) -> None:
        """Raise `TimeUp` if no time is left."""
        if self.is_up():
            raise TimeUp


NO_LIMIT = TimeLimit()
"""As long as it takes."""
