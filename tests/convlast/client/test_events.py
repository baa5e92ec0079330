from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convlast.client.events import Event, Events, NotEventsError


def parsed(*pieces: bytes) -> list[tuple[str, str]]:
    """Return the data and the ids of the events in a stream."""
    stream = Events()
    return [(event.data, event.id) for piece in pieces for event in stream.feed(piece)]


@pytest.mark.parametrize(
    ("stream", "found"),
    [
        (b"data: one\n\n", [("one", "")]),
        (b"id: 7\ndata: one\n\ndata: two\n\n", [("one", "7"), ("two", "7")]),
        (b"data:one\ndata:  two\ndata\n\n", [("one\n two\n", "")]),
        (b": a comment\n\ndata: one\n\n", [("one", "")]),
        (b"id: 7\n\ndata: one\n\n", [("one", "7")]),
        (b"id: 7\ndata: one\n\nid\ndata: two\n\n", [("one", "7"), ("two", "")]),
        (b"id: 1\0\ndata: one\n\n", [("one", "")]),
        (b"unknown: 1\ndata: one\n\n", [("one", "")]),
        (b"event: other\ndata: one\n\ndata: two\n\n", [("two", "")]),
        (b"event: message\ndata: one\n\n", [("one", "")]),
        (b"\xef\xbb\xbfdata: one\n\n", [("one", "")]),
        (b"data: one\r\rdata: two\r\n\r\n", [("one", ""), ("two", "")]),
        (b"data: one\n", []),
        (b"data: \xff\n\n", [("�", "")]),
    ],
)
def test_a_stream_is_read_as_its_standard_says(stream: bytes, found: list[tuple[str, str]]) -> None:
    """Fields, comments, ends of lines, and an event that is cut off."""
    assert parsed(stream) == found


STREAM = (
    b"\xef\xbb\xbfretry: 10\r\n\r\n: x\r\r\nid: 1\r\ndata: \xe2\x82\xac\r\n\r\n"
    b"data: a\ndata: b\n\nid: 2\rdata: c\r\r"
)


@given(st.sets(st.integers(1, len(STREAM) - 1)))
def test_it_does_not_matter_how_a_stream_is_cut_into_pieces(cuts: set[int]) -> None:
    """Not even within a character, or within the end of a line."""
    places = [0, *sorted(cuts), len(STREAM)]
    pieces = [STREAM[start:end] for start, end in pairwise(places)]
    assert parsed(*pieces) == [("€", "1"), ("a\nb", "1"), ("c", "2")]


@pytest.mark.parametrize(
    ("value", "seconds"), [("2500", 2.5), ("0", 0), ("999999999", 30), ("-1", 1), ("1.5", 1)]
)
def test_a_stream_says_when_to_come_again(value: str, seconds: float) -> None:
    """It is believed up to half a minute."""
    stream = Events()
    assert list(stream.feed(f"retry: {value}\n\n".encode())) == []
    assert stream.retry_s == seconds


@pytest.mark.parametrize("line", [b"x" * 1000, b"data: 1\n", b": comment\n"])
def test_an_event_without_an_end_is_refused(line: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is held in memory is bounded; a stream with ends is not."""
    monkeypatch.setattr("convlast.client.events.MAX_EVENT_BYTES", 1 << 16)
    with pytest.raises(NotEventsError):
        parsed(*[line] * (1 << 16))
    stream = Events()
    found = [event for _ in range(1 << 14) for event in stream.feed(b"data: 1\n\n")]
    assert found == [Event("1", "")] * (1 << 14)
