from __future__ import annotations

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
    assert given == {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(path)}


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
