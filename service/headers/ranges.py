"""The part of a file that a `Range` field requests (RFC 9110, section 14)."""

from __future__ import annotations

from service.errors import RangeNotSatisfiableError

MAX_CHARS = 256
"""Most characters of a field: two numbers, and the blanks that some clients add."""

MAX_DIGITS = 18
"""Most digits of a number, far more than any file size has."""

_BLANKS = " \t"


def parse_range(field: str | None, size_bytes: int) -> tuple[int, int] | None:
    """Return start and length of the range, or none for the whole file.

    A field that is malformed, too long, or requests several ranges is ignored, as the RFC allows.

    Raises:
        RangeNotSatisfiableError: If the range lies outside the file.

    >>> parse_range("bytes=10-", 100)
    (10, 90)
    >>> parse_range("bytes=-10", 100)
    (90, 10)
    """
    if field is None or len(field) > MAX_CHARS:
        return None
    unit, _, wanted = field.partition("=")
    first, dash, last = (part.strip(_BLANKS) for part in wanted.partition("-"))
    if unit.strip(_BLANKS).lower() != "bytes" or not dash or not (first or last):
        return None
    if not (_is_number(first) and _is_number(last)):
        return None
    if not first:
        start = max(size_bytes - int(last), 0)
        end = size_bytes
    else:
        start = int(first)
        end = min(int(last) + 1, size_bytes) if last else size_bytes
        if last and int(last) < start:
            return None
    if start >= end:
        raise RangeNotSatisfiableError(f"The artifact has {size_bytes:,} bytes.", bytes=size_bytes)
    return start, end - start


def _is_number(text: str) -> bool:
    """Return whether a text is empty or ASCII digits; `isdecimal` alone allows all scripts."""
    return not text or (text.isascii() and text.isdecimal() and len(text) <= MAX_DIGITS)
