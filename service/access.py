"""Who may call: bearer keys, compared in constant time, and changed without a restart."""

from __future__ import annotations

import hmac
import ipaddress
from pathlib import Path

import structlog

from service import keyfile
from service.errors import UnauthorizedError
from service.keyfile import ANONYMOUS, KeyFileError
from service.settings import Settings, SettingsError

_log = structlog.get_logger()

# A client of IPv6 has a whole network of this size to itself, and as many addresses as it likes.
_IPV6_CLIENT_BITS = 64


class Keyring:
    """The keys that are known, by their digests; a key itself is not kept.

    The file is looked at with each request, and read again when it has changed. One that cannot be
    used then leaves the keys as they were: a slip of the pen locks nobody out, or in.
    """

    def __init__(self, path: Path | None, *, anonymous_allowed: bool) -> None:
        """Read the keys.

        Args:
            path: The file; none: there are no keys, and everyone is served.
            anonymous_allowed: Whether a request without a key is served beside them.

        Raises:
            KeyFileError: If the file cannot be used.
        """
        self._path = path
        self.anonymous_allowed = anonymous_allowed or path is None
        self._owners: dict[bytes, str] = {}
        self._seen: tuple[int, ...] | None = None
        self.problem: str | None = None
        """What is wrong with the file since it was changed, or unwise about it."""
        if path is not None:
            self._seen = _signature(path)
            self._owners, self.problem = keyfile.read(path), keyfile.warning_of(path)
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
        """Read the file again if it has changed; otherwise this costs one `stat`."""
        if self._path is None or (signature := _signature(self._path)) == self._seen:
            return
        self._seen = signature
        try:
            self._owners, self.problem = keyfile.read(self._path), keyfile.warning_of(self._path)
        except KeyFileError as error:
            self.problem = f"{error} The keys are those of before."
        except OSError:
            self.problem = "CONVLAST_API_KEYS_FILE is gone. The keys are those of before."
        _log.info("keys were read again", keys=len(self._owners))
        self._report()

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


def _signature(path: Path) -> tuple[int, ...] | None:
    """Give what changes with the content of a file; none where there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
