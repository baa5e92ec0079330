"""The file of keys: one `name:key` a line, read into digests; the keys themselves are not kept."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path

ANONYMOUS = "anonymous"
"""Whose jobs those are that came without a key; no key may have this name."""


class KeyFileError(Exception):
    """The file cannot be used; the message is a sentence without a path or a key."""


def digest_of(key: bytes) -> bytes:
    """Give what is kept of a key."""
    return hashlib.sha256(key).digest()


def read(path: Path) -> dict[bytes, str]:
    """Read the owner of each key, by the digest of the key.

    A name may stand there several times: its old and its new key, while it changes.

    Raises:
        KeyFileError: If it cannot be read, others may write it, or its keys are not plain.
    """
    try:
        mode = path.stat().st_mode
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise KeyFileError(f"CONVLAST_API_KEYS_FILE cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise KeyFileError("CONVLAST_API_KEYS_FILE cannot be read: it is not UTF-8.") from None
    if mode & stat.S_IWOTH:
        raise KeyFileError("CONVLAST_API_KEYS_FILE may be written by everyone: chmod o-w.")
    owners: dict[bytes, str] = {}
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if text and not text.startswith("#"):
            _add(owners, text, number)
    if not owners:
        raise KeyFileError("CONVLAST_API_KEYS_FILE holds no key.")
    return owners


def warning_of(path: Path) -> str | None:
    """Say what is unwise about the file, though it is used."""
    # Not refused: containers' secrets are often mounted so, where no other user exists.
    if path.stat().st_mode & stat.S_IROTH:
        return "CONVLAST_API_KEYS_FILE may be read by every user of this machine: chmod o-r."
    return None


def _add(owners: dict[bytes, str], text: str, number: int) -> None:
    """Add the key of one line."""
    name, _, key = (part.strip() for part in text.rpartition(":"))
    if not key:
        raise KeyFileError(f"CONVLAST_API_KEYS_FILE has a name without a key in line {number}.")
    digest = digest_of(key.encode())
    name = name or f"key-{digest.hex()[:12]}"
    if name == ANONYMOUS:
        raise KeyFileError(f"CONVLAST_API_KEYS_FILE names a key {ANONYMOUS} in line {number}.")
    if owners.setdefault(digest, name) != name:
        raise KeyFileError(f"CONVLAST_API_KEYS_FILE has the key of line {number} twice.")
