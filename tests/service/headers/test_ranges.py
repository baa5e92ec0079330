from __future__ import annotations

import pytest

from service.errors import RangeNotSatisfiableError
from service.headers.ranges import parse_range


@pytest.mark.parametrize(
    ("field", "part"),
    [
        (None, None),
        ("bytes=0-0", (0, 1)),
        ("bytes=0-", (0, 100)),
        ("bytes=90-200", (90, 10)),
        ("bytes=-5", (95, 5)),
        ("bytes=-500", (0, 100)),
        ("Bytes = 1 - 2", (1, 2)),
        ("bytes=-", None),
        ("bytes=5-2", None),
        ("bytes=0-1,5-6", None),
        ("lines=1-2", None),
        ("bytes=a-b", None),
    ],
)
def test_ranges(field: str | None, part: tuple[int, int] | None) -> None:
    """One range is honoured; any other field gives the whole file."""
    assert parse_range(field, 100) == part


@pytest.mark.parametrize("field", ["bytes=100-", "bytes=100-200", "bytes=-0"])
def test_ranges_outside_the_file(field: str) -> None:
    """A range outside the file is refused."""
    with pytest.raises(RangeNotSatisfiableError):
        parse_range(field, 100)
