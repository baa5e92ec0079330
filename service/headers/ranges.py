"""The part of a file that a `Range` field asks for (RFC 9110, section 14)."""

from __future__ import annotations

from service.errors import RangeNotSatisfiableError

MAX_CHARS = 256
"""Of a field that is read: two numbers, and blanks where some clients put them."""

MAX_DIGITS = 18
"""Of a number: far beyond any file."""

_BLANKS = " \t"


def parse_range(field: str | None, size_bytes: int) -> tuple[int, int] | None:
    """Give start and length, or none where the whole file is the answer.

    A field that is malformed, too long, or asks for several ranges, is passed over, as the RFC
    allows.

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
    """Say whether a text is a number, or nothing; `isdecimal` alone takes digits of all scripts."""
    return not text or (text.isascii() and text.isdecimal() and len(text) <= MAX_DIGITS)
