"""Who may call: bearer keys from a file, compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from pathlib import Path

from service.errors import UnauthorizedError
from service.settings import Settings, SettingsError

ANONYMOUS = "anonymous"


@dataclass(frozen=True)
class Keyring:
    """The keys that are known, by their digests; a key itself is not kept.

    Attributes:
        owners: The name of each key, by the SHA-256 of the key.
        anonymous_allowed: Whether a request without a key is served.
    """

    owners: dict[bytes, str]
    anonymous_allowed: bool

    @classmethod
    def of(cls, settings: Settings) -> Keyring:
        """Read the keys.

        Raises:
            SettingsError: If the file cannot be read or holds no key.
        """
        if settings.api_keys_file is None:
            return cls({}, anonymous_allowed=True)
        return cls(_read(settings.api_keys_file), anonymous_allowed=settings.allow_anonymous)

    def owner(self, authorization: str | None) -> str:
        """Name the owner of the key in an `Authorization` field.

        Raises:
            UnauthorizedError: If there is no key where one is needed, or an unknown one.
        """
        if authorization is None:
            if self.anonymous_allowed:
                return ANONYMOUS
            raise UnauthorizedError("This service needs a key.")
        scheme, _, key = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise UnauthorizedError("The scheme of Authorization is not Bearer.")
        digest = hashlib.sha256(key.strip().encode()).digest()
        # All keys are compared, so that the time taken does not tell which one was near.
        found = [name for known, name in self.owners.items() if hmac.compare_digest(known, digest)]
        if not found:
            raise UnauthorizedError("The key is not known here.")
        return found[0]


def _read(path: Path) -> dict[bytes, str]:
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"CONVLAST_API_KEYS_FILE cannot be read: {error}.") from None
    owners: dict[bytes, str] = {}
    for line in lines:
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        name, _, key = text.rpartition(":")
        digest = hashlib.sha256(key.strip().encode()).digest()
        owners[digest] = name.strip() or f"key-{digest.hex()[:12]}"
    if not owners:
        raise SettingsError("CONVLAST_API_KEYS_FILE holds no key.")
    return owners
