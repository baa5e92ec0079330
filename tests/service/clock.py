"""Time that passes when a test says so."""

from __future__ import annotations


class Clock:
    """Clocks that are set by hand: one that only goes on, and the time of day."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.jumped_s = 1e9

    def pass_by(self, seconds: float) -> None:
        """Let time pass, for both."""
        self.now_s += seconds

    def set_time_of_day(self, seconds: float) -> None:
        """Set the time as people see it."""
        self.jumped_s = seconds - self.now_s

    def time_of_day(self) -> float:
        """Tell the time as people see it."""
        return self.now_s + self.jumped_s

    def __call__(self) -> float:
        """Tell the time since some moment."""
        return self.now_s
