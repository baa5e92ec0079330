"""The field `traceparent`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.jobs.tracing.traceparent import Traceparent

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@given(st.integers(1, (1 << 128) - 1), st.integers(1, (1 << 64) - 1), st.booleans())
def test_what_is_written_is_read(trace: int, span: int, is_sampled: bool) -> None:
    """Reading is the inverse of writing."""
    named = Traceparent(f"{trace:032x}", f"{span:016x}", is_sampled)
    assert Traceparent.read(str(named)) == named


@pytest.mark.parametrize(
    "values",
    [
        (),
        ("",),
        (None,),
        (f"00-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-01"),
        (f"00-{TRACE.upper()}-{SPAN}-01",),
        (f"ff-{TRACE}-{SPAN}-01",),
        (f"00-{'0' * 32}-{SPAN}-01",),
        (f"00-{TRACE}-{'0' * 16}-01",),
        (f"00-{TRACE}-{SPAN}-01-more",),
        (f"00-{TRACE}-{SPAN}-1",),
        (f"00-{TRACE}-{SPAN}-01\n",),
        (f"01-{TRACE}-{SPAN}-01-{'x' * 10_000}",),
    ],
)
def test_a_bad_field_is_ignored(values: tuple[str | None, ...]) -> None:
    """So is one that came twice, as the standard says."""
    assert Traceparent.read(*values) is None


def test_a_later_version_may_have_more_parts() -> None:
    """Its first four parts mean the same."""
    assert Traceparent.read(f"01-{TRACE}-{SPAN}-03-more") == Traceparent(TRACE, SPAN, True)
