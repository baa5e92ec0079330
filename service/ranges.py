"""The part of a file that a `Range` field asks for (RFC 9110, section 14)."""

from __future__ import annotations

import re

from service.errors import RangeNotSatisfiableError

_ONE_RANGE = re.compile(r"\s*bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*", re.IGNORECASE)


def parse_range(field: str | None, size_bytes: int) -> tuple[int, int] | None:
    """Give start and length, or none where the whole file is the answer.

    A field that is malformed, or asks for several ranges, is passed over, as the RFC allows.

    Raises:
        RangeNotSatisfiableError: If the range lies outside the file.

    >>> parse_range("bytes=10-", 100)
    (10, 90)
    >>> parse_range("bytes=-10", 100)
    (90, 10)
    """
    found = _ONE_RANGE.fullmatch(field or "")
    if found is None or not (found[1] or found[2]):
        return None
    if not found[1]:
        start = max(size_bytes - int(found[2]), 0)
        end = size_bytes
    else:
        start = int(found[1])
        end = min(int(found[2]) + 1, size_bytes) if found[2] else size_bytes
        if found[2] and int(found[2]) < start:
            return None
    if start >= end:
        raise RangeNotSatisfiableError(f"The artifact has {size_bytes:,} bytes.", bytes=size_bytes)
    return start, end - start
