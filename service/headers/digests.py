"""The fields `Content-Digest` and `Repr-Digest` (RFC 9530)."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Protocol

from service.errors import DigestMismatchError, MalformedRequestError

_ALGORITHMS = {"sha-256": "sha256", "sha-512": "sha512"}
_ALGORITHM = re.compile(r"[a-z0-9*._-]{1,64}")
_BLANKS = " \t"


class Hash(Protocol):
    """A hash object of `hashlib`."""

    def update(self, data: bytes, /) -> None:
        """Add bytes."""

    def digest(self) -> bytes:
        """Return the digest of all bytes that were added."""


def repr_digest(sha256_hex: str) -> str:
    """Write a SHA-256 as the value of `Repr-Digest`.

    >>> repr_digest("00" * 32)
    'sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:'
    """
    return f"sha-256=:{base64.b64encode(bytes.fromhex(sha256_hex)).decode()}:"


class ContentDigest:
    """The digests in a `Content-Digest` field, to be compared with the content.

    Unknown algorithms are ignored, as the RFC requires.
    """

    def __init__(self, field: str | None) -> None:
        """Parse the field.

        Raises:
            MalformedRequestError: If it cannot be parsed.
        """
        self._promised: dict[str, bytes] = {}
        self._hashes: dict[str, Hash] = {}
        for part in (field or "").split(","):
            if field is not None:
                self._add(part)

    def _add(self, part: str) -> None:
        name, _, value = (piece.strip(_BLANKS) for piece in part.partition("="))
        digest = _bytes_of(value)
        if digest is None or not _ALGORITHM.fullmatch(name):
            raise MalformedRequestError(
                "Content-Digest cannot be read.", remedy="Write sha-256=:<base64>: (RFC 9530)."
            )
        if name in _ALGORITHMS:
            self._promised[name] = digest
            self._hashes[name] = hashlib.new(_ALGORITHMS[name])

    @property
    def is_promised(self) -> bool:
        """Whether there is a digest to compare with, so that the content has to be hashed."""
        return bool(self._hashes)

    def update(self, data: bytes) -> None:
        """Add bytes of the content."""
        for each in self._hashes.values():
            each.update(data)

    def check(self) -> None:
        """Compare the digests with those of the content.

        Raises:
            DigestMismatchError: If they differ.
        """
        for algorithm, promised in self._promised.items():
            if self._hashes[algorithm].digest() != promised:
                raise DigestMismatchError(
                    f"The content does not have the {algorithm} of Content-Digest.",
                    remedy="It was damaged on the way: send it again.",
                )


def _bytes_of(value: str) -> bytes | None:
    """Parse a byte sequence of a structured field (RFC 8941, section 3.3.5); none if it is not one.

    >>> _bytes_of(":aGk=:")
    b'hi'
    """
    if len(value) < 2 or value[0] != ":" or value[-1] != ":":
        return None
    try:
        return base64.b64decode(value[1:-1], validate=True)
    except ValueError:  # not base64, or not ASCII
        return None
