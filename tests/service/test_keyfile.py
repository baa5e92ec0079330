from __future__ import annotations

from pathlib import Path

import pytest

from service import keyfile
from service.keyfile import KeyFileError


def written(folder: Path, content: bytes, mode: int = 0o600) -> Path:
    """Write a file of keys."""
    path = folder / "keys"
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_a_name_may_have_two_keys(tmp_path: Path) -> None:
    """While a key changes, its old and its new form lead to the same owner."""
    owners = keyfile.read(written(tmp_path, b"# team\n\nalice:old\nalice:new\nbob:b:c\n"))
    assert sorted(owners.values()) == ["alice", "alice", "bob:b"]
    assert owners[keyfile.digest_of(b"new")] == "alice"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no key"),
        (b"# nothing\n", "holds no key"),
        (b"alice:\n", "a name without a key in line 1"),
        (b"# team\nanonymous:s3cret\n", "names a key anonymous in line 2"),
        (b"alice:s3cret\nbob:s3cret\n", "the key of line 2 twice"),
        (b"alice:\xff\n", "not UTF-8"),
    ],
)
def test_a_file_that_is_not_plain_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    """The message names the line, and neither the key nor the path."""
    with pytest.raises(KeyFileError, match=message) as caught:
        keyfile.read(written(tmp_path, content))
    assert "s3cret" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_modes_of_the_file(tmp_path: Path) -> None:
    """What everyone may write is refused, what everyone may read is named."""
    path = written(tmp_path, b"alice:s3cret\n")
    assert keyfile.warning_of(path) is None
    path.chmod(0o644)
    assert "chmod o-r" in (keyfile.warning_of(path) or "")
    path.chmod(0o606)
    with pytest.raises(KeyFileError, match="chmod o-w"):
        keyfile.read(path)
