"""The file of keys: one `name:key` a line, read into digests; the keys themselves are not kept."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ANONYMOUS = "anonymous"
"""Whose jobs those are that came without a key; no key may have this name."""

MIN_KEY_CHARS = 8
"""Characters that a key has at least: a shorter one is guessed, or is what was left of a key."""


class KeyFileError(Exception):
    """The file cannot be used; the message is a sentence without a path or a key."""


class NoKeyYetError(KeyFileError):
    """The file has lines, none of which can be used, as one that is being written has."""


class Keys(NamedTuple):
    """What a file of keys holds."""

    owners: dict[bytes, str]
    """The owner of each key, by the digest of the key."""

    warnings: tuple[str, ...]
    """What is not used of the file, or unwise about it, in sentences without a path or a key."""


def digest_of(key: bytes) -> bytes:
    """Give what is kept of a key."""
    return hashlib.sha256(key).digest()


def read(path: Path) -> Keys:
    """Read the owner of each key, by the digest of the key.

    A name may stand there several times: its old and its new key, while it changes.

    Raises:
        NoKeyYetError: If none of its lines can be used.
        KeyFileError: If it cannot be read, others may write it, its keys are not plain, or it has
            none.
    """
    try:
        mode = path.stat().st_mode
        # A reader may come while the file is written, and then sees the first part of it. Of its
        # last line there may be a name without the key, or half a key, and each would be a key.
        whole, end, torn = path.read_bytes().rpartition(b"\n")
        lines = (whole + end).decode().splitlines()
    except OSError as error:
        raise KeyFileError(f"CONVLAST_API_KEYS_FILE cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise KeyFileError("CONVLAST_API_KEYS_FILE cannot be read: it is not UTF-8.") from None
    if mode & stat.S_IWOTH:
        raise KeyFileError("CONVLAST_API_KEYS_FILE may be written by everyone: chmod o-w.")
    owners: dict[bytes, str] = {}
    short: list[int] = []
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if text and not text.startswith("#") and not _add(owners, text, number):
            short.append(number)
    unused = [*_warn_of_short(short), *_warn_of_torn(torn, number=len(lines) + 1)]
    if not owners:
        message = " ".join(["CONVLAST_API_KEYS_FILE holds no key.", *unused])
        raise NoKeyYetError(message) if unused else KeyFileError(message)
    return Keys(owners, (*unused, *_warn_of_readers(mode)))


def _add(owners: dict[bytes, str], text: str, number: int) -> bool:
    """Add the key of one line, unless it is too short."""
    name, _, key = (part.strip() for part in text.rpartition(":"))
    if not key:
        raise KeyFileError(f"CONVLAST_API_KEYS_FILE has a name without a key in line {number}.")
    digest = digest_of(key.encode())
    name = name or f"key-{digest.hex()[:12]}"
    if name == ANONYMOUS:
        raise KeyFileError(f"CONVLAST_API_KEYS_FILE names a key {ANONYMOUS} in line {number}.")
    if len(key) < MIN_KEY_CHARS:
        return False
    if owners.setdefault(digest, name) != name:
        raise KeyFileError(f"CONVLAST_API_KEYS_FILE has the key of line {number} twice.")
    return True


def _warn_of_short(numbers: list[int]) -> Iterator[str]:
    """Say which lines have a key that is easily guessed."""
    if numbers:
        yield (
            "CONVLAST_API_KEYS_FILE has a key that is too short, and not used, in line "
            f"{', '.join(map(str, numbers))}: a key needs {MIN_KEY_CHARS} characters at least."
        )


def _warn_of_torn(line: bytes, number: int) -> Iterator[str]:
    """Say that a last line is not used, where one is lost by that."""
    if line.strip() and not line.lstrip().startswith(b"#"):
        yield (
            f"CONVLAST_API_KEYS_FILE may be half written in line {number}, which is not used: "
            "end it with a newline."
        )


def _warn_of_readers(mode: int) -> Iterator[str]:
    """Say that everyone can read the file."""
    # Not refused: containers' secrets are often mounted so, where no other user exists.
    if mode & stat.S_IROTH:
        yield "CONVLAST_API_KEYS_FILE may be read by every user of this machine: chmod o-r."
