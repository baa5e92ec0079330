"""The address of an object, or of a folder of objects, and what may be shown of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal, TypeAlias, cast, get_args
from urllib.parse import quote, unquote

from convlast.errors import AddressError

Scheme: TypeAlias = Literal["s3", "gs", "az", "file", "https"]

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_BUCKET = re.compile(r"[A-Za-z0-9$][A-Za-z0-9._-]{0,254}")
_HOST = re.compile(r"(?:[a-z0-9._-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::[0-9]{1,5})?")
_ENCODED = frozenset({"file", "https"})
"""Schemes of URLs, where a name is percent-encoded; the others hold keys as they are."""


def is_address(text: str) -> bool:
    """Return whether this is an address, and not a path.

    >>> is_address("s3://bucket/model.pt"), is_address("model.pt")
    (True, False)
    """
    return _SCHEME.match(text) is not None


@dataclass(frozen=True, repr=False)
class Address:
    """Where an object is. What is shown of it never holds a secret.

    Attributes:
        scheme: The kind of store.
        root: The bucket, the container, or the host with its port; empty for a file.
        key: The rest, as it was written: a path without its first slash.
        query: What follows `?`, such as a signature; a secret.

    >>> Address.parse("https://host/model.pt?signature=secret")
    Address('https://host/model.pt?…')
    """

    scheme: Scheme
    root: str
    key: str
    query: str = ""

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read an address.

        Args:
            text: Such as `s3://bucket/folder/model.pt`.

        Raises:
            AddressError: If it cannot be read, or holds what no address may hold.
        """
        found = _SCHEME.match(text)
        scheme = found[1].lower() if found else ""
        if found is None or scheme not in get_args(Scheme):
            known = ", ".join(f"{each}://" for each in get_args(Scheme))
            raise _refusal(text, "It does not begin with one of these", f"Use one of {known}.")
        _refuse_what_none_may_hold(text)
        rest, asks, query = text[found.end() :].partition("?")
        if asks and scheme != "https":
            raise _refusal(text, "Only an https:// address has a query", "Leave out all from ? on.")
        root, _, key = rest.partition("/")
        address = cls(cast("Scheme", scheme), _root_of(text, scheme, root), key, query)
        _refuse_bad_segments(text, address)
        return address

    @property
    def text(self) -> str:
        """The whole address, with its secrets."""
        return f"{self._shown}?{self.query}" if self.query else self._shown

    @property
    def _shown(self) -> str:
        return f"{self.scheme}://{self.root}/{self.key}"

    def __str__(self) -> str:
        return f"{self._shown}?…" if self.query else self._shown

    def __repr__(self) -> str:
        return f"Address({str(self)!r})"

    @property
    def name(self) -> str:
        """The last part of the key, as a file would be called; empty for a bucket.

        >>> Address.parse("https://host/a/my%20model.pt").name
        'my model.pt'
        """
        return PurePosixPath(self.path).name

    @property
    def path(self) -> str:
        """The key as a store has it, decoded where the scheme encodes it."""
        return unquote(self.key) if self.scheme in _ENCODED else self.key

    @property
    def is_folder(self) -> bool:
        """Whether it names a folder, or all of a bucket."""
        return not self.key or self.key.endswith("/")

    def child(self, name: str) -> Address:
        """Return the address of an object in this folder.

        Args:
            name: Its name, which may hold slashes.

        Raises:
            AddressError: If the name has a part that none may have.

        >>> Address.parse("s3://bucket/models").child("model.pt")
        Address('s3://bucket/models/model.pt')
        """
        folder = self.key if self.is_folder else f"{self.key}/"
        key = folder + (quote(name) if self.scheme in _ENCODED else name)
        return Address.parse(f"{self.scheme}://{self.root}/{key}")

    def beside(self, ending: str) -> Address:
        """Return the address beside this one that has its name with another ending.

        Args:
            ending: The ending, from its dot on.

        >>> Address.parse("s3://bucket/made/m.channels_last_3d.pt").beside(".report.json")
        Address('s3://bucket/made/m.channels_last_3d.report.json')
        >>> Address.parse("s3://bucket/made/vae.v1/").beside(".report.json")
        Address('s3://bucket/made/vae.v1.report.json')
        """
        stem = self.name if self.is_folder else PurePosixPath(self.name).stem
        folder = self.text.rstrip("/").rpartition("/")[0]
        return Address.parse(f"{folder}/").child(f"{stem}{ending}")

    def is_within(self, prefix: Address) -> bool:
        """Return whether this is the prefix or below it, part by part.

        >>> prefix = Address.parse("s3://bucket/models")
        >>> Address.parse("s3://bucket/models/a.pt").is_within(prefix)
        True
        >>> Address.parse("s3://bucket/models-of-others/a.pt").is_within(prefix)
        False
        """
        own, others = self.path.split("/"), prefix.path.rstrip("/").split("/")
        same = (self.scheme, self.root) == (prefix.scheme, prefix.root)
        return same and (others == [""] or own[: len(others)] == others)


def _refuse_what_none_may_hold(text: str) -> None:
    if not text.isprintable() or "\\" in text:
        raise _refusal(text, "It holds a control character or a backslash", "Encode it as %XX.")
    if "#" in text:
        raise _refusal(text, "It has a fragment", "Leave out all from # on.")


def _root_of(text: str, scheme: str, root: str) -> str:
    """Return the bucket or host as it is compared."""
    if "@" in root:
        raise _refusal(
            text,
            "It holds credentials",
            "Credentials come from the environment: see docs/stores.md.",
        )
    if scheme == "file":
        if root not in {"", "localhost"}:
            raise _refusal(text, "A file has no host", "Write file:///path/to/file.")
        return ""
    if scheme == "https":
        root = root.lower().removesuffix(":443")
        if not _HOST.fullmatch(root) or not root.isascii():
            raise _refusal(text, "It has no valid host", "Write https://host/path.")
        return root
    if not _BUCKET.fullmatch(root):
        raise _refusal(text, "It has no valid bucket", f"Write {scheme}://bucket/key.")
    return root


def _refuse_bad_segments(text: str, address: Address) -> None:
    """Refuse what would lead elsewhere, or what a store cannot hold."""
    path = address.path
    segments = path.removesuffix("/").split("/")
    if address.scheme in _ENCODED and address.key.count("/") != path.count("/"):
        raise _refusal(text, "A part of it holds a slash", "Write / and not %2F.")
    if not path.isprintable() or "\\" in path:
        raise _refusal(text, "It holds a control character or a backslash", "Rename the object.")
    if {".", ".."} & set(segments):
        raise _refusal(text, "It has a part . or ..", "Write the address without them.")
    if "" in segments and path and address.scheme != "https":
        raise _refusal(text, "It has an empty part", "Write one slash between two parts.")


def _refusal(text: str, what: str, remedy: str) -> AddressError:
    """Say what is wrong, without what may be a secret."""
    scheme = _SCHEME.match(text)
    shown = re.sub(r"[?#].*", "?…", text, count=1, flags=re.DOTALL)
    if "@" in text or not shown.isprintable():  # a password may be anywhere in it
        shown = f"{scheme[0]}…" if scheme else "…"
    return AddressError(f"{shown} is not a valid address. {what}.", address=shown, remedy=remedy)
