from __future__ import annotations

import base64
import hashlib

import pytest

from service.errors import DigestMismatchError, MalformedRequestError
from service.headers.digests import ContentDigest, repr_digest

DATA = b"some bytes"


def field(algorithm: str, data: bytes = DATA) -> str:
    """Return a member of `Content-Digest` for some bytes."""
    digest = hashlib.new(algorithm.replace("-", ""), data).digest()
    return f"{algorithm}=:{base64.b64encode(digest).decode()}:"


@pytest.mark.parametrize(
    "value",
    [
        None,
        field("sha-256"),
        field("sha-512"),
        f"{field('sha-256')}, {field('sha-512')}",
        "md5=:eA==:",
    ],
)
def test_what_fits_passes(value: str | None) -> None:
    """No digest, one or two correct ones, and an unknown algorithm are accepted."""
    digest = ContentDigest(value)
    digest.update(DATA[:3])
    digest.update(DATA[3:])
    digest.check()


@pytest.mark.parametrize("algorithm", ["sha-256", "sha-512"])
def test_what_differs_is_refused(algorithm: str) -> None:
    """Content with another digest is refused."""
    digest = ContentDigest(field(algorithm, b"other bytes"))
    digest.update(DATA)
    with pytest.raises(DigestMismatchError, match=algorithm):
        digest.check()


@pytest.mark.parametrize("value", ["", "sha-256", "sha-256=abc", "sha-256=:abc:", "=::"])
def test_what_cannot_be_read_is_refused(value: str) -> None:
    """A malformed field is refused, not ignored."""
    with pytest.raises(MalformedRequestError):
        ContentDigest(value)


def test_repr_digest_is_what_content_digest_reads() -> None:
    """Both fields have the same format."""
    assert repr_digest(hashlib.sha256(DATA).hexdigest()) == field("sha-256")
