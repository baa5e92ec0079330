"""The key that signs what the service states of artifacts. No worker ever has it."""

from __future__ import annotations

from pathlib import Path

import structlog

from convlast.errors import OptionError
from convlast.provenance.signing import PrivateKey, read_private_key
from service.sandbox.surroundings import readable
from service.settings import Settings, SettingsError, variable_of

_SETTING = "signing_key_file"
_log = structlog.get_logger()


class SigningKey:
    """The key of `CONVLAST_SIGNING_KEY_FILE`, if there is one; SIGHUP has it read again.

    If the file cannot be used then, the earlier key stays.
    """

    def __init__(self, path: Path | None) -> None:
        """Read the key.

        Raises:
            OptionError: If it cannot be used, or the extra `signing` is missing.
        """
        self._path = path
        self._key = None if path is None else self._read(path)

    @classmethod
    def of(cls, settings: Settings) -> SigningKey:
        """Read the key that the settings name.

        Raises:
            SettingsError: If it cannot be used.
        """
        try:
            return cls(settings.signing_key_file)
        except OptionError as error:
            raise SettingsError(f"{variable_of(_SETTING)} cannot be used: {error}") from None

    @property
    def keyid(self) -> str | None:
        """The id of the key, if there is one."""
        return self._key.keyid if self._key else None

    def sign(self, statement: bytes) -> bytes | None:
        """Return a statement in a signed envelope; none without a key."""
        return self._key.sign(statement).text() if self._key else None

    def read_again(self) -> None:
        """Read the key now."""
        if self._path is None:
            return
        try:
            self._key = self._read(self._path)
        except OptionError as error:
            _log.warning("signing key", problem=f"{error} The earlier key stays.")
            return
        _log.info("the signing key was read again", keyid=self.keyid)

    @staticmethod
    def _read(path: Path) -> PrivateKey:
        if any(path.resolve().is_relative_to(each.resolve()) for each in readable()):
            raise OptionError(_SETTING, f"{str(path)!r} lies where workers read their libraries.")
        return read_private_key(path, _SETTING)
