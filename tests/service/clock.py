"""A clock that tests move."""

from __future__ import annotations


class Clock:
    """A monotonic clock and a time of day, both set by hand."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.jumped_s = 1e9

    def pass_by(self, seconds: float) -> None:
        """Move both clocks forward."""
        self.now_s += seconds

    def set_time_of_day(self, seconds: float) -> None:
        """Set the time of day only."""
        self.jumped_s = seconds - self.now_s

    def time_of_day(self) -> float:
        """Return the time of day."""
        return self.now_s + self.jumped_s

    def __call__(self) -> float:
        """Return the monotonic time."""
        return self.now_s
