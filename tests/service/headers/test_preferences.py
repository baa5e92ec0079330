from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from service.headers.preferences import MOST_WAIT_S, Preference


def preference(*fields: str) -> tuple[int | None, str]:
    """Read a preference from these fields."""
    raw = [(b"prefer", field.encode("latin-1")) for field in fields]
    read = Preference.of(Headers(raw=raw))
    return read.wait_s, read.applied


@pytest.mark.parametrize(
    ("field", "wait_s", "applied"),
    [
        ("respond-async", 0, "respond-async"),
        ("Respond-Async", 0, "respond-async"),
        ("wait=25", 25, "wait=25"),
        ("wait=0", 0, "wait=0"),
        ("respond-async, wait=25", 25, "respond-async, wait=25"),
        ("wait=25,respond-async", 25, "respond-async, wait=25"),
        ('wait="25"; x=1, return=minimal', 25, "wait=25"),
        ("wait = 25", 25, "wait=25"),
        ("respond-async; x, wait=5", 5, "respond-async, wait=5"),
        (f"wait={MOST_WAIT_S * 10}", MOST_WAIT_S, f"wait={MOST_WAIT_S}"),
    ],
)
def test_what_a_client_prefers_is_applied_and_told(field: str, wait_s: int, applied: str) -> None:
    """Names are without case, values may be quoted, and the longest wait is bounded."""
    assert preference(field) == (wait_s, applied)


@pytest.mark.parametrize(
    "field", ["", ",", "return=minimal", "wait", "wait=", "wait=soon", "wait=-1", "wait=1.5", "=5"]
)
def test_what_cannot_be_read_is_ignored(field: str) -> None:
    """The request is then answered as one without a preference."""
    assert preference(field) == (None, "")
    assert not Preference.of(Headers({"Prefer": field})).is_asynchronous


def test_several_fields_are_one_list_and_the_first_of_a_name_counts() -> None:
    """Source: RFC 7240, section 2."""
    assert preference("respond-async", "wait=7") == (7, "respond-async, wait=7")
    assert preference("wait=7", "wait=9") == (7, "wait=7")
    assert preference("wait=soon, wait=9") == (None, "")
    assert preference() == (None, "")


@given(st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=40))
def test_any_field_is_read_or_ignored(field: str) -> None:
    """No field raises, and what is told in return has a fixed form."""
    wait_s, applied = preference(field)
    assert (wait_s is None) == (applied == "")
    assert wait_s is None or 0 <= wait_s <= MOST_WAIT_S
    assert applied.isascii()
