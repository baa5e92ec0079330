"""A service that does the work in place of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, field_validator

from convlast.errors import OptionError

if TYPE_CHECKING:
    from convlast.client import Client


class Service(BaseModel):
    """The service that does the work, if one does."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    server: str | None = None
    """The address of a convlast service, e.g. http://127.0.0.1:8000, which does the work on its own
    device and within its own limits."""

    key_file: Path | None = None
    """A file with the service's bearer key."""

    @field_validator("key_file")
    @classmethod
    def _can_be_read(cls, key_file: Path | None) -> Path | None:
        if key_file is not None and not key_file.is_file():
            raise ValueError(f"there is no file '{key_file}'")
        return key_file

    def client(self, source: Path) -> Client:
        """Return a client, which is not connected yet.

        Raises:
            OptionError: If the source is a folder, or the client is not installed.
        """
        if source.is_dir():
            raise OptionError(
                "server",
                "A service takes a model folder as one file.",
                remedy="Pack it: a zip or tar.",
            )
        try:
            from convlast.client import Client
        except ModuleNotFoundError:
            raise OptionError(
                "server",
                "--server needs the extra client.",
                remedy="pip install 'convlast[client]'",
            ) from None
        key = self.key_file.read_text().strip() if self.key_file else None
        return Client(str(self.server), key=key)
