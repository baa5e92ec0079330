from __future__ import annotations

import errno
import os
import sysconfig
from pathlib import Path

import pytest

from service.ray_engine import token
from service.settings import Settings, SettingsError


def settings(path: Path) -> Settings:
    """Return settings with this file."""
    return Settings(ray_token_file=path)


def test_a_token_is_made_once(tmp_path: Path) -> None:
    """A file that is there stays as it is."""
    path = tmp_path / "token"
    token.make(path)
    made = path.read_text()
    assert len(made) == 64
    token.make(path)
    assert path.read_text() == made


@pytest.mark.parametrize("mode", [0o644, 0o600, 0o440, 0o777])
def test_the_file_becomes_private(tmp_path: Path, mode: int) -> None:
    """Whatever its mode was, it is 0400 before Ray reads it, and Ray gets its name alone."""
    path = tmp_path / "token"
    token.make(path)
    path.chmod(mode)
    given = token.protected(settings(path))
    assert path.stat().st_mode & 0o7777 == 0o400
    assert given == {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": "",
        "RAY_AUTH_TOKEN_PATH": str(path),
    }


@pytest.mark.parametrize(("mode", "is_taken"), [(0o440, True), (0o444, False), (0o460, False)])
def test_a_file_that_cannot_be_changed_has_to_be_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, is_taken: bool
) -> None:
    """Kubernetes mounts secrets read-only, for the group of the pod."""
    path = tmp_path / "token"
    token.make(path)
    path.chmod(mode)

    def chmod(path: Path, mode: int) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "chmod", chmod)
    if is_taken:
        assert token.protected(settings(path))["RAY_AUTH_TOKEN_PATH"] == str(path)
    else:
        with pytest.raises(SettingsError, match="Read-only file system"):
            token.protected(settings(path))


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """Kubernetes puts a changed secret behind the same link, and removes the file from before."""
    token.make(tmp_path / "first")
    (tmp_path / "token").symlink_to("first")
    given = token.protected(settings(tmp_path / "token"))
    assert given["RAY_AUTH_TOKEN_PATH"] == str(tmp_path / "token")


@pytest.mark.parametrize("content", [b"", b"short\n", b"\xff" * 64])
def test_a_bad_token_is_refused(tmp_path: Path, content: bytes) -> None:
    """It has to be text, and long."""
    path = tmp_path / "token"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match="CONVLAST_RAY_TOKEN_FILE"):
        token.protected(settings(path))


def test_no_token_is_refused(tmp_path: Path) -> None:
    """There is no cluster without one."""
    with pytest.raises(SettingsError, match="No such file"):
        token.protected(settings(tmp_path / "absent"))
    with pytest.raises(SettingsError, match="whoever reaches Ray runs code"):
        token.protected(Settings())


def test_a_token_where_workers_read_is_refused() -> None:
    """Sandboxed workers can read their libraries."""
    with pytest.raises(SettingsError, match="where workers read"):
        token.protected(settings(Path(sysconfig.get_path("purelib")) / "token"))
