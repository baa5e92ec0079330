"""Who may call: bearer keys, compared in constant time, and changed without a restart."""

from __future__ import annotations

import hmac
import ipaddress
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import structlog

from service.access import keyfile
from service.access.keyfile import ANONYMOUS, KeyFileError, NoKeyYetError
from service.errors import UnauthorizedError
from service.settings import Settings, SettingsError

_log = structlog.get_logger()

# A client of IPv6 has a whole network of this size to itself, and as many addresses as it likes.
_IPV6_CLIENT_BITS = 64

REST_S = 1.0
"""Seconds for which a changed file of keys has to rest before it is read: a writer may be slow."""


class _Signature(NamedTuple):
    device: int
    inode: int
    size_bytes: int
    modified_ns: int
    changed_ns: int


class Keyring:
    """The keys that are known, by their digests; a key itself is not kept.

    The file is looked at with each request, and read again when it has changed and come to rest.
    One that cannot be used then leaves the keys as they were: a slip of the pen locks nobody out,
    or in.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        anonymous_allowed: bool,
        clock: Callable[[], float] = time.monotonic,
        time_of_day: Callable[[], float] = time.time,
    ) -> None:
        """Read the keys.

        Args:
            path: The file; none: there are no keys, and everyone is served.
            anonymous_allowed: Whether a request without a key is served beside them.
            clock: Seconds since some moment, which never jump.
            time_of_day: Seconds since 1970, by the clock that files are stamped with.

        Raises:
            KeyFileError: If the file cannot be used.
        """
        self._path = path
        self.anonymous_allowed = anonymous_allowed or path is None
        self._clock, self._time_of_day = clock, time_of_day
        self._owners: dict[bytes, str] = {}
        self._seen: _Signature | None = None
        self._seen_at, self._is_read = clock(), False
        self.problem: str | None = None
        """What is wrong with the file since it was changed, not used of it, or unwise about it."""
        if path is not None:
            self._look(path)
            try:
                self._read(path)
            except NoKeyYetError as error:
                # It may be written just now, as a secret that is mounted later. Nobody comes in.
                self.problem = f"{error} Nobody is let in until it has one."
            # Stamps are milliseconds coarse: a change right after this may not show in them. So
            # a file that is as new as that is read once more.
            self._is_read = self._rests()
            self._report()

    @classmethod
    def of(cls, settings: Settings) -> Keyring:
        """Read the keys that the settings name.

        Raises:
            SettingsError: If the file cannot be used.
        """
        try:
            return cls(settings.api_keys_file, anonymous_allowed=settings.allow_anonymous)
        except KeyFileError as error:
            raise SettingsError(f"{error} ({settings.api_keys_file})") from None

    def owner(self, authorization: str | None) -> str:
        """Name the owner of the key in an `Authorization` field.

        Raises:
            UnauthorizedError: If there is no key where one is needed, or an unknown one.
        """
        self.refresh()
        if authorization is None:
            if self.anonymous_allowed:
                return ANONYMOUS
            raise UnauthorizedError(
                "This service needs a key.", remedy="Send it as Authorization: Bearer <key>."
            )
        scheme, _, key = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise UnauthorizedError(
                "The scheme of Authorization is not Bearer.", remedy="Write Bearer <key>."
            )
        # Fields of HTTP are bytes, which Latin-1 gives back as they came.
        digest = keyfile.digest_of(key.strip(" \t").encode("latin-1", "replace"))
        # All keys are compared, so that the time taken does not tell which one was near.
        found = [name for known, name in self._owners.items() if hmac.compare_digest(known, digest)]
        if not found:
            raise UnauthorizedError("The key is not known here.")
        return found[0]

    def refresh(self) -> None:
        """Read the file again if it has changed and rests; otherwise this costs one `stat`."""
        if self._path is None:
            return
        self._look(self._path)
        if self._is_read or not self._rests():
            return
        try:
            self._read(self._path)
        except KeyFileError as error:
            self.problem = f"{error} The keys are those of before."
        _log.info("keys were read again", keys=len(self._owners))
        self._report()

    def _look(self, path: Path) -> None:
        """See whether the file has changed."""
        if (seen := _signature(path)) != self._seen:
            self._seen, self._seen_at, self._is_read = seen, self._clock(), False

    def _rests(self) -> bool:
        """Say whether nobody seems to write the file any more."""
        # The time of the change counts first: a key that was taken out an hour ago must not open
        # to the first request since. It is ctime, which the kernel alone sets; `cp -p`, `tar` and
        # `touch` set mtime back while a file is new. Where a file's clock is ahead of ours, as on
        # a network's disk, it counts how long the file has looked the same from here.
        if self._seen and self._time_of_day() - self._seen.changed_ns / 1e9 >= REST_S:
            return True
        return self._clock() - self._seen_at >= REST_S

    def _read(self, path: Path) -> None:
        """Take the keys of the file, unless it has changed since it was looked at."""
        self._is_read = True
        keys = keyfile.read(path)
        self._look(path)
        if not self._is_read:
            raise KeyFileError(
                "CONVLAST_API_KEYS_FILE was changed while it was read: mv a whole one there."
            )
        self._owners, self.problem = keys.owners, " ".join(keys.warnings) or None

    def _report(self) -> None:
        if self.problem:
            _log.warning("keys", problem=self.problem)


def share_of(owner: str, address: str | None) -> str:
    """Name whose share of the service a request uses up: its key's, or its address's.

    >>> share_of("alice", "10.0.0.7")
    'alice'
    >>> share_of("anonymous", "2001:db8::1:2:3:4")
    'anonymous 2001:db8::/64'
    """
    if owner != ANONYMOUS or address is None:
        return owner
    try:
        client = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return owner
    if isinstance(client, ipaddress.IPv6Address):
        # IPv4 clients of a socket that listens for both come in this disguise.
        mapped = client.ipv4_mapped
        network = ipaddress.ip_network((client, _IPV6_CLIENT_BITS), strict=False)
        return f"{ANONYMOUS} {mapped or network}"
    return f"{ANONYMOUS} {client}"


def _signature(path: Path) -> _Signature | None:
    """Give what changes with the content of a file; none where there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return _Signature(
        status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
    )
