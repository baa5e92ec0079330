from __future__ import annotations

from pathlib import Path

import pytest

from service.access import ANONYMOUS, Keyring
from service.errors import UnauthorizedError
from service.settings import Settings, SettingsError


def keyring(folder: Path, text: str, **more: object) -> Keyring:
    """Write a file of keys and read it."""
    path = folder / "keys"
    path.write_text(text)
    return Keyring.of(Settings.model_validate({"api_keys_file": path, **more}))


def test_keys_have_owners(tmp_path: Path) -> None:
    """A named key belongs to its name, a bare one to a name that does not tell the key."""
    keys = keyring(tmp_path, "# comment\n\nalice:s3cret\nbare-key\n")
    assert keys.owner("Bearer s3cret") == "alice"
    assert keys.owner("bearer bare-key").startswith("key-")
    assert "bare-key" not in repr(keys)


@pytest.mark.parametrize(
    "authorization", [None, "Bearer wrong", "Basic s3cret", "Bearer ", "s3cret"]
)
def test_others_are_refused(tmp_path: Path, authorization: str | None) -> None:
    """Without a key that is known nobody comes in."""
    with pytest.raises(UnauthorizedError):
        keyring(tmp_path, "alice:s3cret").owner(authorization)


def test_anonymous_use_beside_keys_must_be_meant(tmp_path: Path) -> None:
    """With ALLOW_ANONYMOUS a request without a key is served, one with a wrong key is not."""
    keys = keyring(tmp_path, "alice:s3cret", allow_anonymous=True)
    assert keys.owner(None) == ANONYMOUS
    with pytest.raises(UnauthorizedError):
        keys.owner("Bearer wrong")


def test_a_file_without_a_key_stops_the_start(tmp_path: Path) -> None:
    """A file of comments locks nobody in or out: it is refused."""
    with pytest.raises(SettingsError, match="holds no key"):
        keyring(tmp_path, "# nothing\n")
