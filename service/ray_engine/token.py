"""The token without which nobody may talk to the cluster: whoever can, runs code in it."""

from __future__ import annotations

import secrets
from pathlib import Path

from service.sandbox.surroundings import readable
from service.settings import Settings, SettingsError, variable_of

_FEWEST_CHARACTERS = 32
_VARIABLE = variable_of("ray_token_file")


def make(path: Path) -> None:
    """Make a file with a new token, unless there is one."""
    try:
        path.touch(mode=0o600, exist_ok=False)
    except FileExistsError:
        return
    path.write_text(secrets.token_hex(32))


def protected(settings: Settings) -> dict[str, str]:
    """Check the file of the token, close it to others, and return what tells Ray to use it.

    Ray of this version makes the files of its tokens readable for everyone, so this file is brought
    to 0400 before Ray reads it. Ray gets its name alone: a token in a variable would lie in the
    environment of every process that Ray starts. KubeRay sets that variable, and Ray prefers it to
    the file, so it is emptied.

    Raises:
        SettingsError: If there is no token, or others could read it.
    """
    path = settings.ray_token_file
    if path is None:
        raise SettingsError(f"Set {_VARIABLE}: without a token, whoever reaches Ray runs code.")
    path = path.absolute()  # a link stays one: Kubernetes puts a changed secret behind it
    if any(path.resolve().is_relative_to(each.resolve()) for each in readable()):
        raise SettingsError(f"{_VARIABLE}={path} lies where workers read their libraries.")
    try:
        text = path.read_text().strip()
        _close(path)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise SettingsError(f"{_VARIABLE}={path} cannot be used: {why}.") from None
    if len(text) < _FEWEST_CHARACTERS:
        raise SettingsError(f"{_VARIABLE}={path} has fewer than {_FEWEST_CHARACTERS} characters.")
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "", "RAY_AUTH_TOKEN_PATH": str(path)}


def _close(path: Path) -> None:
    """Close a file to others.

    Raises:
        OSError: If others can read it, or its group can change it, and that cannot be mended.
    """
    mode = path.stat().st_mode
    try:
        if mode & 0o377:
            path.chmod(0o400)
    except OSError:
        if mode & 0o337:  # a secret that Kubernetes mounts is 0440, and cannot be changed
            raise
