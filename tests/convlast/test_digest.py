from __future__ import annotations

import hashlib
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convlast.digest import require_crc, sha256_and_crc32_of, sha256_of
from convlast.errors import MalformedCheckpointError


@given(st.binary(max_size=50), st.integers(1, 20))
def test_the_digests_are_those_of_all_bytes(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, piece_bytes: int
) -> None:
    """In whatever pieces the file is read."""
    path = tmp_path_factory.mktemp("digest") / "file"
    path.write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("convlast.digest.PIECE_BYTES", piece_bytes)
        assert sha256_and_crc32_of(path) == (sha256, zlib.crc32(content))
    assert sha256_of(path) == sha256


def test_a_crc_is_refused_only_where_another_one_is_stated() -> None:
    """What states none cannot be wrong."""
    require_crc("data/0", None, 5)
    require_crc("data/0", 5, 5)
    with pytest.raises(MalformedCheckpointError, match="'data/0' is damaged"):
        require_crc("data/0", 4, 5)
