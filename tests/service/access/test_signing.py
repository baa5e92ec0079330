from __future__ import annotations

import sysconfig
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from service.access.signing import SigningKey
from service.settings import Settings, SettingsError
from tests.convlast.provenance.keys import KeyFiles, write_keys


@pytest.fixture
def keys(tmp_path: Path) -> KeyFiles:
    """Make a pair of keys."""
    return write_keys(tmp_path)


def of(path: Path | None) -> SigningKey:
    """Read the key that the settings name."""
    return SigningKey.of(Settings.model_validate({"signing_key_file": path}))


def test_without_a_key_nothing_is_signed() -> None:
    """Nor is there anything to read again."""
    key = of(None)
    key.read_again()
    assert (key.keyid, key.sign(b"statement")) == (None, None)


def test_a_key_that_cannot_be_used_is_an_error_of_the_settings(keys: KeyFiles) -> None:
    """The message names the variable, the file and what to do."""
    keys.private.chmod(0o644)
    with pytest.raises(SettingsError, match=r"CONVLAST_SIGNING_KEY_FILE.*mode is 0644.*chmod"):
        of(keys.private)
    with pytest.raises(SettingsError, match=r"CONVLAST_SIGNING_KEY_FILE.*cannot be read"):
        of(keys.private.with_name("absent"))


def test_a_key_among_libraries_is_refused(keys: KeyFiles, tmp_path: Path) -> None:
    """Workers can read these; a link to such a place is one."""
    path = Path(sysconfig.get_paths()["purelib"]) / "key.pem"
    link = tmp_path / "link"
    link.symlink_to(path)
    for each in (path, link):
        with pytest.raises(SettingsError, match="where workers read their libraries"):
            of(each)


def test_a_key_that_was_not_read_is_not_said_to_be(keys: KeyFiles) -> None:
    """The log says that the earlier one stays, and nothing else."""
    key = of(keys.private)
    keys.private.write_bytes(b"damaged")
    with capture_logs() as logs:
        key.read_again()
    (only,) = logs
    assert only["problem"].endswith("The earlier key stays.")


def test_a_key_is_read_again(keys: KeyFiles, tmp_path: Path) -> None:
    """The new one counts; if it cannot be used, the earlier one stays."""
    key = of(keys.private)
    before = key.keyid
    (tmp_path / "new").mkdir()
    write_keys(tmp_path / "new", "p-256").private.replace(keys.private)
    key.read_again()
    assert key.keyid not in (before, None)
    after = key.keyid
    keys.private.write_bytes(b"damaged")
    key.read_again()
    keys.private.unlink()
    key.read_again()
    assert key.keyid == after
    assert key.sign(b"statement") is not None
