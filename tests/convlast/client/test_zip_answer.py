from __future__ import annotations

import io
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convlast.client.zip_answer import CutOffError, NotTheAnswerError, receive
from convlast.progress import silent
from service.answers.zip_stream import StoredMember
from tests.convlast.client.answering import answer_zip, report, zipped

ANSWER = answer_zip()
SMALL = zipped({"a.pt": b"abc" * 30, "report.json": b"{}", "report.html": b"<html>"})


def received(content: bytes, sizes: int = 1 << 16, max_bytes: int | None = None) -> bytes:
    """Return the artifact in a zip that arrives in pieces of this size."""
    pieces = (content[start : start + sizes] for start in range(0, len(content), sizes))
    artifact = io.BytesIO()
    receive(pieces, artifact, max_bytes, silent)
    return artifact.getvalue()


def header_of(name: str, nbytes: int) -> bytes:
    """Return what stands before a member, as the service writes it."""
    return StoredMember(name, Path(name), nbytes, 0).local_header()


@pytest.mark.parametrize("sizes", [1, 7, 1000, 1 << 30])
def test_it_is_unpacked_in_pieces_of_any_size(sizes: int) -> None:
    """Artifact and report are those that were packed."""
    assert received(SMALL, sizes) == b"abc" * 30


def test_the_report_and_the_digest_come_with_it() -> None:
    """The digest is that of the bytes that were written."""
    found = receive([ANSWER], io.BytesIO(), len(ANSWER), silent)
    told = report().artifact
    assert told is not None
    assert found.sha256 == told.sha256
    assert found.report == report().model_dump_json().encode()


@given(st.integers(0, len(SMALL) - 1))
def test_a_zip_that_ends_early_is_cut_off(nbytes: int) -> None:
    """Wherever it ends before its directory; without a part of that, nothing is missing."""
    directory = SMALL.index(b"PK\1\2")
    if nbytes >= directory + 30:
        assert received(SMALL[:nbytes]) == b"abc" * 30
    else:
        with pytest.raises(CutOffError):
            received(SMALL[:nbytes])


@given(st.binary(max_size=200), st.integers(0, len(SMALL)))
def test_other_bytes_are_refused_or_cut_off(noise: bytes, start: int) -> None:
    """Whatever a program at that address sends, there is one of two errors, or an artifact."""
    with suppress(NotTheAnswerError, CutOffError):
        received(SMALL[:start] + noise + SMALL[start + len(noise) :], max_bytes=len(SMALL))


@pytest.mark.parametrize(
    "content",
    [
        b"<!doctype html>" * 10,
        zipped({"a.pt": b"a" * 100, "report.json": b"{}"}, zipfile.ZIP_DEFLATED),
        zipped({"report.json": b"{}", "a.pt": b"a"}),
        zipped({"a.pt": b"a", "b.pt": b"b", "report.json": b"{}"}),
        zipped({"a.pt": b"a" * 100}),
        zipped({}) + bytes(30),
    ],
    ids=["a page", "compressed", "report first", "two artifacts", "no report", "empty"],
)
def test_what_is_no_answer_of_the_service_is_refused(content: bytes) -> None:
    """Other bytes, another kind of zip, or other members."""
    with pytest.raises(NotTheAnswerError):
        received(content)


def test_no_member_is_larger_than_the_zip() -> None:
    """A size that the answer cannot have is refused before it is waited for."""
    with pytest.raises(NotTheAnswerError, match="a member of"):
        received(header_of("a.pt", 1 << 50) + b"a", max_bytes=1 << 20)


def test_a_size_of_more_than_4_gib_is_read() -> None:
    """As the service writes it, in the extra field."""
    with pytest.raises(CutOffError, match="5,368,709,117 bytes are missing"):
        received(header_of("a.pt", 5 << 30) + b"abc")


def test_an_endless_report_is_refused() -> None:
    """Only the artifact may be large."""
    artifact = header_of("a.pt", 3) + b"abc"
    with pytest.raises(NotTheAnswerError, match="a report of"):
        received(artifact + header_of("report.json", 1 << 30))
