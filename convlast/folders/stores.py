"""Stores in a model folder that name files by a digest of their content, and version control.

A converted file in such a store would no longer have the digest that is its name, and the store
would be corrupt.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from string import hexdigits

from convlast.folders.folder import Folder

_CONTROL = {".git", ".hg", ".svn", ".bzr", "_darcs", ".jj", ".sl", ".pijul", ".dvc"}
"""Folders of version control, which hold objects, large files and copies of the work tree."""

_HUB_CACHE = (".cache", "huggingface")
_OLD_HUB_CACHE = ".huggingface"
"""Where `hf download --local-dir` keeps unfinished files and notes, since version 0.24 and before.

Source: https://huggingface.co/docs/huggingface_hub/guides/download
"""

_BLOBS, _SNAPSHOTS = "blobs", "snapshots"
"""Folders in the cache of a Hugging Face repository: files by their digests, and by their names.

Source: https://huggingface.co/docs/huggingface_hub/guides/manage-cache
"""

_DIGESTS = {32: ("md5",), 40: ("sha1",), 64: ("sha256",), 96: ("sha384",), 128: ("sha512",)}
"""The functions whose digests have so many hexadecimal digits."""

_SEPARATED = re.compile(r"[-_:]")
_FUNCTION = re.compile(r"(?:md5|sha[0-9]{1,4})[-_:]")
"""What may stand before a digest: the name of its function."""

_KEY = re.compile(r"[A-Z0-9_]{2,20}-s[0-9]{1,20}(?:-[a-zA-Z][0-9]{1,20}){0,4}--")
"""What git-annex has before a digest: the function, the size, and more.

Source: https://git-annex.branchable.com/internals/key_format/
"""

_PREFIX = re.compile(r"[0-9a-fA-F]{1,3}")
"""A folder for the files whose digests begin with its name."""


class Stores:
    """The stores in a folder."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._hubs = set(_caches_in(folder.members))

    def reason_to_keep(self, name: str) -> str | None:
        """Return why a file must stay as it is, to follow "because"; None if it need not.

        The bytes of a file are read only if its name may be a digest.
        """
        reason = self.reason_of_place(name)
        if reason is None and self._is_named_by_digest(name):
            return "its name is the digest of its bytes"
        return reason

    def reason_of_place(self, name: str) -> str | None:
        """Return the reason that the folders of a file give; None if they give none."""
        *folders, _ = name.split("/")
        for depth, part in enumerate(folders):
            place = "/".join(folders[: depth + 1])
            if part in _CONTROL:
                return f"{place} belongs to version control"
            if tuple(folders[depth : depth + 2]) == _HUB_CACHE:
                return f"{place}/{folders[depth + 1]} belongs to a download"
            if part == _OLD_HUB_CACHE:
                return f"{place} belongs to a download"
            if part == _BLOBS and "/".join(folders[:depth]) in self._hubs:
                return f"{place} has files by their digests"
        return None

    def _is_named_by_digest(self, name: str) -> bool:
        for digest in _digests_in(name):
            for function in _DIGESTS.get(len(digest), ()):
                if digest in self._digests_of(name, function):
                    return True
        return False

    def _digests_of(self, name: str, function: str) -> set[str]:
        """Return the digest of a file's bytes, and the one that git gives it."""
        plain = hashlib.new(function, usedforsecurity=False)
        of_git = hashlib.new(function, usedforsecurity=False)
        of_git.update(f"blob {self._folder.members[name].nbytes}\0".encode())
        for chunk in self._folder.chunks(name):
            plain.update(chunk)
            of_git.update(chunk)
        return {plain.hexdigest(), of_git.hexdigest()}


def _caches_in(names: Iterable[str]) -> Iterable[str]:
    """Yield the folders that have a folder of snapshots."""
    for name in names:
        folders = name.split("/")[:-1]
        if _SNAPSHOTS in folders:
            yield "/".join(folders[: folders.index(_SNAPSHOTS)])


def _digests_in(name: str) -> Iterable[str]:
    """Yield what may be the digest in a path: the name, or the end of the path without slashes."""
    *folders, last = name.split("/")
    stem = last.partition(".")[0]
    digest = _SEPARATED.split(stem)[-1]
    before = stem.removesuffix(digest)
    if before and not (_FUNCTION.fullmatch(before) or _KEY.fullmatch(before)):
        return
    if not set(digest) <= set(hexdigits):
        return
    digest = digest.lower()
    yield digest
    for part in reversed(folders[-3:]):
        if not _PREFIX.fullmatch(part):
            return
        digest = part.lower() + digest
        yield digest
