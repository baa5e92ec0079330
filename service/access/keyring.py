"""Bearer keys, compared in constant time and reloaded without a restart."""

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

# An IPv6 client usually has a network with this prefix length, and can use any address in it.
_IPV6_CLIENT_BITS = 64

SETTLE_S = 1.0
"""A changed key file is read once it has been unchanged for this long: a writer may be slow."""


class _Signature(NamedTuple):
    device: int
    inode: int
    size_bytes: int
    modified_ns: int
    changed_ns: int


class Keyring:
    """The known keys, by their digests.

    Each request checks the file, which is read again `SETTLE_S` seconds after it changed. If it
    cannot be used then, the old keys stay valid: a typing error locks nobody out.
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
            path: The key file, or none if there are no keys and every request is served.
            anonymous_allowed: Whether a request without a key is served although there are keys.
            clock: Returns seconds by a monotonic clock.
            time_of_day: Returns seconds since 1970, by the clock of file times.

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
        """The error or the warnings of the last reading of the file."""
        if path is not None:
            self._look(path)
            try:
                self._read(path)
            except NoKeyYetError as error:
                # The file may still be being written, such as a secret that is mounted later.
                self.problem = f"{error} Every key is refused until it has one."
            # File times advance in steps of milliseconds, so a change right after this may not
            # show in them. A file that has just changed is therefore read again.
            self._is_read = self._is_settled()
            self._report()

    @classmethod
    def of(cls, settings: Settings) -> Keyring:
        """Read the key file that the settings name.

        Raises:
            SettingsError: If the file cannot be used.
        """
        try:
            return cls(settings.api_keys_file, anonymous_allowed=settings.allow_anonymous)
        except KeyFileError as error:
            raise SettingsError(f"{error} ({settings.api_keys_file})") from None

    def owner(self, authorization: str | None) -> str:
        """Return the owner of the key in an `Authorization` field.

        Raises:
            UnauthorizedError: If the key is unknown, or missing and needed.
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
        # HTTP fields are bytes, decoded as Latin-1; this recovers the bytes.
        digest = keyfile.digest_of(key.strip(" \t").encode("latin-1", "replace"))
        # All keys are compared, so that the time taken tells nothing about any of them.
        found = [name for known, name in self._owners.items() if hmac.compare_digest(known, digest)]
        if not found:
            raise UnauthorizedError("The key is not known here.")
        return found[0]

    def refresh(self) -> None:
        """Read the file again if it has changed and settled; otherwise this costs one `stat`."""
        if self._path is None:
            return
        self._look(self._path)
        if not self._is_read and self._is_settled():
            self._read_and_tell(self._path)

    def read_again(self) -> None:
        """Read the file now, even if it has not changed, or has not settled."""
        if self._path is None:
            return
        self._look(self._path)
        self._read_and_tell(self._path)
        self._is_read = self._is_settled()  # as in __init__

    def _read_and_tell(self, path: Path) -> None:
        """Read the file, and log the result; if it cannot be used, the earlier keys stay valid."""
        try:
            self._read(path)
        except KeyFileError as error:
            self.problem = f"{error} The earlier keys stay valid."
        _log.info("keys were read again", keys=len(self._owners))
        self._report()

    def _look(self, path: Path) -> None:
        """Note whether the file has changed."""
        if (seen := _signature(path)) != self._seen:
            self._seen, self._seen_at, self._is_read = seen, self._clock(), False

    def _is_settled(self) -> bool:
        """Return whether the file has settled: nobody seems to be writing it."""
        # The age of the file counts first: a key that was removed an hour ago must not admit the
        # first request since then. The age is by ctime, which only the kernel sets; `cp -p`, `tar`
        # and `touch` set an older mtime on a new file. If the clock of the file is ahead of ours,
        # as on a network file system, the time counts for which it has looked the same to us.
        if self._seen and self._time_of_day() - self._seen.changed_ns / 1e9 >= SETTLE_S:
            return True
        return self._clock() - self._seen_at >= SETTLE_S

    def _read(self, path: Path) -> None:
        """Take the keys of the file, unless it changes during the reading."""
        self._is_read = True
        keys = keyfile.read(path)
        self._look(path)
        if not self._is_read:
            raise KeyFileError(
                "CONVLAST_API_KEYS_FILE was changed while it was read: write a new file beside it, "
                "and mv it into place."
            )
        self._owners, self.problem = keys.owners, " ".join(keys.warnings) or None

    def _report(self) -> None:
        if self.problem:
            _log.warning("keys", problem=self.problem)


def share_of(owner: str, address: str | None) -> str:
    """Name the client that a request counts for: the owner of its key, or its address.

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
        # A socket that listens for both reports an IPv4 client as a mapped address.
        mapped = client.ipv4_mapped
        network = ipaddress.ip_network((client, _IPV6_CLIENT_BITS), strict=False)
        return f"{ANONYMOUS} {mapped or network}"
    return f"{ANONYMOUS} {client}"


def _signature(path: Path) -> _Signature | None:
    """Return attributes that change with the content of a file, or none if there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return _Signature(
        status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
    )
