"""What a model folder is known by in a report: the digest of its listing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable


def listing_digest(digests: Iterable[tuple[str, str]]) -> str:
    r"""Return the SHA-256 of a folder's listing, given each file's path and digest.

    The same as, for names without line ends or backslashes, of
    `find . -type f -printf '%P\0' | LC_ALL=C sort -z | xargs -0 sha256sum -- | sha256sum`.

    >>> listing_digest([("b", "22"), ("a", "11")]) == listing_digest([("a", "11"), ("b", "22")])
    True
    """
    lines = {path.encode(): f"{digest}  {path}\n".encode() for path, digest in digests}
    return hashlib.sha256(b"".join(lines[path] for path in sorted(lines))).hexdigest()
