"""The key file: one `name:key` a line. Only digests of the keys are kept."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ANONYMOUS = "anonymous"
"""The owner of jobs that were sent without a key; no key may have this name."""

MIN_KEY_CHARS = 8
"""Fewest characters of a key: a shorter one can be guessed, or is a truncated key."""


class KeyFileError(Exception):
    """The file cannot be used; the message is a sentence that contains no path and no key."""


class NoKeyYetError(KeyFileError):
    """The file has lines but no usable key; it may still be being written."""


class Keys(NamedTuple):
    """The contents of a key file."""

    owners: dict[bytes, str]
    """The owner of each key, by the digest of the key."""

    warnings: tuple[str, ...]
    """Lines that are ignored, and risks, in sentences that contain no path and no key."""


def digest_of(key: bytes) -> bytes:
    """Return the digest of a key."""
    return hashlib.sha256(key).digest()


def read(path: Path) -> Keys:
    """Read a key file.

    A name may have several keys, such as the old and the new one while a key is changed.

    Raises:
        NoKeyYetError: If no line has a usable key.
        KeyFileError: If the file cannot be read, is empty, has a bad line, or everyone may write
            it.
    """
    try:
        mode = path.stat().st_mode
        # While the file is written, a reader sees only the first part of it. Its last line may then
        # be a name without the key, or half a key, and either would be read as a key.
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
    """Add the key of one line, and return whether it is long enough."""
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
    """Warn of the lines whose key is too short."""
    if numbers:
        yield (
            "CONVLAST_API_KEYS_FILE has a key that is too short, and not used, in line "
            f"{', '.join(map(str, numbers))}: a key needs at least {MIN_KEY_CHARS} characters."
        )


def _warn_of_torn(line: bytes, number: int) -> Iterator[str]:
    """Warn that the last line is ignored, unless it is empty or a comment."""
    if line.strip() and not line.lstrip().startswith(b"#"):
        yield (
            f"CONVLAST_API_KEYS_FILE may be half written in line {number}, which is not used: "
            "end it with a newline."
        )


def _warn_of_readers(mode: int) -> Iterator[str]:
    """Warn that everyone can read the file."""
    # Not refused: containers often mount secrets like this, and have no other user.
    if mode & stat.S_IROTH:
        yield "CONVLAST_API_KEYS_FILE may be read by every user of this machine: chmod o-r."
