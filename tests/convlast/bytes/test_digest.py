from __future__ import annotations

import hashlib
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convlast.bytes.digest import FilePart, sha256_and_crc32_of, sha256_of
from convlast.errors import MalformedCheckpointError


@given(st.lists(st.binary(max_size=50), max_size=5))
def test_parts_do_not_change_the_digests(
    tmp_path_factory: pytest.TempPathFactory, contents: list[bytes]
) -> None:
    """The digests are those of the whole file, however it is cut into parts."""
    path = tmp_path_factory.mktemp("digest") / "file"
    whole = b"".join(contents)
    path.write_bytes(whole)
    expected = hashlib.sha256(whole).hexdigest(), zlib.crc32(whole)
    parts = [FilePart(len(content), zlib.crc32(content), "member") for content in contents]
    assert sha256_and_crc32_of(path, [*parts, FilePart(None)]) == expected
    assert sha256_and_crc32_of(path) == expected
    assert sha256_of(path) == expected[0]


def test_a_wrong_claim_is_refused_by_name(tmp_path: Path) -> None:
    """A part with a wrong CRC is refused with its name in the input."""
    path = tmp_path / "file"
    path.write_bytes(bytes(1 << 20))
    with pytest.raises(MalformedCheckpointError, match="'data/7' is damaged"):
        sha256_and_crc32_of(path, [FilePart(100), FilePart(1 << 19, 1, "data/7"), FilePart(None)])


def test_a_file_that_ends_before_a_claimed_part_is_refused(tmp_path: Path) -> None:
    """A file that ends before a part with a CRC is refused."""
    path = tmp_path / "file"
    path.write_bytes(b"ab")
    with pytest.raises(MalformedCheckpointError, match="damaged"):
        sha256_and_crc32_of(path, [FilePart(3, zlib.crc32(b"abc"), "data/0")])


def test_whoever_asks_hears_how_far_it_is(tmp_path: Path) -> None:
    """The numbers of bytes grow, up to the size of the file."""
    path, heard = tmp_path / "file", list[int]()
    path.write_bytes(bytes(1 << 20))
    sha256_and_crc32_of(path, [FilePart(5), FilePart(None)], lambda _, nbytes: heard.append(nbytes))
    assert heard == sorted(set(heard))
    assert (heard[0], heard[-1]) == (5, 1 << 20)
