"""The time at which a report is made."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> str:
    """Return the time, as ISO 8601 in UTC to the second: `2026-01-31T23:59:59Z`."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
