"""Objects in a bucket: the same laws as in a folder, and parts that are read as they are sent."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convlast.stores.address import Address
from service.errors import NotFoundError
from service.storage import bucket as bucket_module
from service.storage.bucket import Bucket, StoredSlice


@pytest.fixture
def bucket(tmp_path: Path) -> Bucket:
    """Make a bucket in a folder."""
    return Bucket(Address.parse(f"file://{tmp_path}/bucket/"))


def test_an_object_is_created_once(bucket: Bucket) -> None:
    """The second writer hears that it is not the first, and changes nothing."""
    assert bucket.create("job/end.json", "first")
    assert not bucket.create("job/end.json", "second")
    assert bucket.read("job/end.json") == b"first"


def test_an_object_can_be_written_again(bucket: Bucket) -> None:
    """What is told of a job is replaced, and nothing else is left."""
    bucket.write("job/standing.json", "one")
    bucket.write("job/standing.json", "two")
    assert bucket.read("job/standing.json") == b"two"
    assert bucket.sizes("job") == {"standing.json": 3}
    assert bucket.read("job/other.json") is None


def test_all_below_a_key_goes(bucket: Bucket) -> None:
    """Other keys stay, such as one that begins alike."""
    for key in ("one/a", "one/b/c", "one-more/a"):
        bucket.create(key, key)
    bucket.remove("one")
    bucket.remove("one")
    assert bucket.names() == ["one-more"]


def test_files_are_sent_and_read_in_parts(bucket: Bucket, tmp_path: Path) -> None:
    """A file stays where it was, and any part of it can be read."""
    (tmp_path / "artifact").write_bytes(bytes(range(256)) * 64)
    bucket.take("job/1", tmp_path, ["artifact"], flushed=True)
    file = bucket.open("job/1/artifact")
    assert (file.size_bytes, file.read()) == (16384, bytes(range(256)) * 64)
    assert file.part(256, 512).read_at(2, 3) == bytes([2, 3, 4])
    file.close()
    with pytest.raises(NotFoundError):
        bucket.open("job/1/other")


@given(st.data())
def test_a_slice_reads_the_same_bytes_in_any_order(data: st.DataObject) -> None:
    """Whatever was read before, each part has its bytes; reading in order asks rarely."""
    content = data.draw(st.binary(min_size=1, max_size=200))
    window_bytes = data.draw(st.integers(1, 64))
    asked = []

    def fetch(start: int, length: int) -> bytes:
        asked.append(length)
        return content[start : start + length]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bucket_module, "_WINDOW_BYTES", window_bytes)
        whole = StoredSlice(fetch, 0, len(content))
        for _ in range(data.draw(st.integers(1, 6))):
            start = data.draw(st.integers(0, len(content)))
            length = data.draw(st.integers(0, len(content) - start))
            assert whole.read_at(start, length) == content[start : start + length]
        asked.clear()
        again = StoredSlice(fetch, 0, len(content))
        assert b"".join(again.read_at(at, 1) for at in range(len(content))) == content
        assert len(asked) == -(-len(content) // window_bytes)
