from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.access import keyfile
from service.access.keyfile import KeyFileError


def written(folder: Path, content: bytes, mode: int = 0o600) -> Path:
    """Write a key file."""
    path = folder / "keys"
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_a_name_may_have_two_keys(tmp_path: Path) -> None:
    """An old and a new key with the same name have the same owner."""
    content = b"# team\n\nalice:old-secret\nalice:new-secret\r\nbob:b:another-secret\n"
    owners, warnings = keyfile.read(written(tmp_path, content))
    assert sorted(owners.values()) == ["alice", "alice", "bob:b"]
    assert owners[keyfile.digest_of(b"new-secret")] == "alice"
    assert warnings == ()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no key.$"),
        (b"# nothing\n", "holds no key.$"),
        (b"alice:\n", "a name without a key in line 1"),
        (b"# team\nanonymous:s3cret-key\n", "names a key anonymous in line 2"),
        (b"alice:s3cret-key\nbob:s3cret-key\n", "the key of line 2 twice"),
        (b"alice:\xff\n", "not UTF-8"),
        (b"alice:s3cret-key", "holds no key.* in line 1, .*: end it with a newline.$"),
        (b"\nalice:s3cret\n", "holds no key.* in line 2: a key needs at least 8 characters.$"),
        (b"alice:s3cret\nbob:s3cret-key", "in line 1: a key needs .* in line 2, .* a newline.$"),
    ],
)
def test_a_file_that_is_not_plain_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    """The message names the line, but neither the key nor the path."""
    with pytest.raises(KeyFileError, match=message) as caught:
        keyfile.read(written(tmp_path, content))
    assert "s3cret" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_modes_of_the_file(tmp_path: Path) -> None:
    """A file that everyone may write is refused; one that everyone may read gets a warning."""
    path = written(tmp_path, b"alice:s3cret-key\n")
    assert keyfile.read(path).warnings == ()
    path.chmod(0o644)
    (warning,) = keyfile.read(path).warnings
    assert "chmod o-r" in warning
    path.chmod(0o606)
    with pytest.raises(KeyFileError, match="chmod o-w"):
        keyfile.read(path)


@pytest.mark.parametrize("torn", [b"bob", b"bob:", b"bob:s3cret-ke", b"bob:s3cret-key", b"b\xc3"])
def test_a_last_line_without_its_end_is_no_key(tmp_path: Path, torn: bytes) -> None:
    """A last line without a newline is ignored, with a warning that names it."""
    owners, warnings = keyfile.read(written(tmp_path, b"alice:a-long-key\n\n" + torn))
    assert owners == {keyfile.digest_of(b"a-long-key"): "alice"}
    (warning,) = warnings
    assert "in line 3, which is not used: end it with a newline." in warning
    assert "bob" not in warning


@pytest.mark.parametrize("rest", [b" ", b"\t\r", b"# the end"])
def test_a_last_line_that_holds_no_key_needs_no_end(tmp_path: Path, rest: bytes) -> None:
    """A last line that is blank or a comment gets no warning."""
    assert keyfile.read(written(tmp_path, b"alice:a-long-key\n" + rest)).warnings == ()


def test_a_short_key_is_not_used(tmp_path: Path) -> None:
    """A key of 7 characters is ignored, with a warning that names its line, and one of 8 is not."""
    content = "alice:1234567\nbob:12345678\nschlüss\ncarol:schlüsse\n".encode()
    owners, warnings = keyfile.read(written(tmp_path, content))
    assert sorted(owners.values()) == ["bob", "carol"]
    (warning,) = warnings
    assert "in line 1, 3: a key needs at least 8 characters." in warning


NAMES = st.text("ab:#é \t\r\u2028", max_size=6)
KEYS = st.text("abcé#", min_size=6, max_size=12)
LINES = st.one_of(
    st.builds("{}:{}".format, NAMES, KEYS), KEYS, st.sampled_from(["", "# a comment", "  "])
)


@given(st.lists(LINES, min_size=1, max_size=6), st.sampled_from(["\n", "\r\n"]), st.data())
def test_no_part_of_a_file_makes_a_key(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], end: str, data: st.DataObject
) -> None:
    """The keys of any first part of a file are keys of the whole file."""
    folder = tmp_path_factory.mktemp("keys")
    whole = "".join(line + end for line in lines).encode()
    part = whole[: data.draw(st.integers(0, len(whole)))]
    with contextlib.suppress(KeyFileError):
        owners = keyfile.read(written(folder, whole)).owners
        with contextlib.suppress(KeyFileError):
            assert keyfile.read(written(folder, part)).owners.items() <= owners.items()
