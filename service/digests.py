"""The fields `Content-Digest` and `Repr-Digest` (RFC 9530)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import Protocol

from service.errors import DigestMismatchError, MalformedRequestError

_ALGORITHMS = {"sha-256": "sha256", "sha-512": "sha512"}
_MEMBER = re.compile(r"\s*([a-z0-9*._-]+)\s*=\s*:([A-Za-z0-9+/=]*):\s*")


class Hash(Protocol):
    """What `hashlib` gives."""

    def update(self, data: bytes, /) -> None:
        """Add bytes."""

    def digest(self) -> bytes:
        """Give the digest of all that was added."""


def repr_digest(sha256_hex: str) -> str:
    """Write a SHA-256 as the value of `Repr-Digest`.

    >>> repr_digest("00" * 32)
    'sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:'
    """
    return f"sha-256=:{base64.b64encode(bytes.fromhex(sha256_hex)).decode()}:"


class ContentDigest:
    """A digest that was promised in a header, to be compared with what comes.

    Algorithms that are not known here are passed over, as the RFC asks.
    """

    def __init__(self, field: str | None) -> None:
        """Read the field.

        Raises:
            MalformedRequestError: If it cannot be read.
        """
        self._promised: dict[str, bytes] = {}
        self._hashes: dict[str, Hash] = {}
        for part in (field or "").split(","):
            if field is not None:
                self._add(part)

    def _add(self, part: str) -> None:
        member = _MEMBER.fullmatch(part)
        try:
            digest = base64.b64decode(member[2], validate=True) if member else None
        except binascii.Error:
            digest = None
        if member is None or digest is None:
            raise MalformedRequestError(
                "Content-Digest cannot be read.", remedy="Write sha-256=:<base64>: (RFC 9530)."
            )
        if member[1] in _ALGORITHMS:
            self._promised[member[1]] = digest
            self._hashes[member[1]] = hashlib.new(_ALGORITHMS[member[1]])

    @property
    def is_promised(self) -> bool:
        """Whether there is one to compare with, so that the content has to be seen."""
        return bool(self._hashes)

    def update(self, data: bytes) -> None:
        """Add bytes of the content."""
        for each in self._hashes.values():
            each.update(data)

    def check(self) -> None:
        """Compare.

        Raises:
            DigestMismatchError: If the content is not what was promised.
        """
        for algorithm, promised in self._promised.items():
            if self._hashes[algorithm].digest() != promised:
                raise DigestMismatchError(
                    f"The content does not have the {algorithm} of Content-Digest.",
                    remedy="It was damaged on the way: send it again.",
                )
