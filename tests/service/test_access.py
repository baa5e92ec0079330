from __future__ import annotations

from pathlib import Path

import pytest

from service.access import Keyring, share_of
from service.errors import UnauthorizedError
from service.keyfile import ANONYMOUS
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


@pytest.mark.parametrize("authorization", [None, "Basic s3cret"])
def test_who_sends_no_bearer_key_is_told_how(tmp_path: Path, authorization: str | None) -> None:
    """The refusal says what to write."""
    with pytest.raises(UnauthorizedError, match="Bearer <key>"):
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


def test_keys_change_without_a_restart(tmp_path: Path) -> None:
    """A key that is added is known, and one that is taken out is not, from the next request on."""
    keys = keyring(tmp_path, "alice:old")
    (tmp_path / "keys").write_text("alice:old\nalice:new\n")
    assert keys.owner("Bearer old") == keys.owner("Bearer new") == "alice"
    (tmp_path / "keys").write_text("alice:new\n")
    with pytest.raises(UnauthorizedError):
        keys.owner("Bearer old")


@pytest.mark.parametrize("broken", ["", "alice:", None])
def test_a_broken_file_keeps_the_keys(tmp_path: Path, broken: str | None) -> None:
    """A file that is emptied, damaged or gone is named, and changes nothing until it is mended."""
    keys = keyring(tmp_path, "alice:s3cret")
    path = tmp_path / "keys"
    path.unlink() if broken is None else path.write_text(broken)
    assert keys.owner("Bearer s3cret") == "alice"
    assert keys.problem
    assert "The keys are those of before." in keys.problem
    assert str(tmp_path) not in keys.problem
    path.write_text("bob:another")
    path.chmod(0o600)
    assert keys.owner("Bearer another") == "bob"
    assert keys.problem is None


def test_a_key_may_be_any_text(tmp_path: Path) -> None:
    """A key outside ASCII is compared byte by byte, as it comes over the wire."""
    keys = keyring(tmp_path, "alice:schlüssel\N{NO-BREAK SPACE}")
    assert keys.owner("Bearer " + "schlüssel".encode().decode("latin-1")) == "alice"


@pytest.mark.parametrize(
    ("owner", "address", "share"),
    [
        ("alice", "10.0.0.7", "alice"),
        (ANONYMOUS, "10.0.0.7", "anonymous 10.0.0.7"),
        (ANONYMOUS, "::ffff:10.0.0.7", "anonymous 10.0.0.7"),
        (ANONYMOUS, "2001:db8:1:2:3::4", "anonymous 2001:db8:1:2::/64"),
        (ANONYMOUS, "fe80::1%eth0", "anonymous fe80::/64"),
        (ANONYMOUS, None, ANONYMOUS),
        (ANONYMOUS, "a socket", ANONYMOUS),
    ],
)
def test_shares(owner: str, address: str | None, share: str) -> None:
    """Keys have shares of their own; clients without one are told apart by their address."""
    assert share_of(owner, address) == share
