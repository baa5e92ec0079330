"""Fetches the checkpoint of a job from a store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from convlast.errors import NotACheckpointError
from convlast.progress import Progress
from convlast.stores.address import Address
from service.errors import TimedOutError, UploadTooLargeError
from service.settings import Settings
from service.transfers.allowed import allowed_source
from service.transfers.packed_folder import PackedFolder
from service.transfers.slots import Slots
from service.transfers.telling import telling

if TYPE_CHECKING:
    from convlast.stores.opening import StoreOptions

MOST_AT_ONCE = 8
"""Checkpoints that are fetched at once."""

LOOK_S = 15.0
"""How long a store that is away is asked for a checkpoint while its client waits for the answer."""

STAGE = "download"


@dataclass(frozen=True)
class Found:
    """A checkpoint, or a model folder, in a store.

    Attributes:
        address: Where it is.
        version: Its version there; empty if the store has none.
        bytes: Its size; that of its tar if it is a folder.
        names: The names of its files, if it is a folder.
    """

    address: Address
    version: str
    bytes: int
    names: tuple[str, ...] = ()


class Fetching:
    """Fetches checkpoints from the stores that are allowed."""

    def __init__(self, settings: Settings, options: Callable[[], StoreOptions]) -> None:
        """Set up.

        Args:
            settings: Which addresses are allowed, and for how long and how much is fetched.
            options: Returns how stores are asked.
        """
        self._settings, self._options = settings, options
        self._slots = Slots(MOST_AT_ONCE)

    async def look(self, text: str) -> Found:
        """Find a checkpoint, so that a wrong address is told at once.

        Raises:
            StoreError: If it is not allowed, or not there, or its store does not tell in time.
            UploadTooLargeError: If it is larger than allowed.
            LimitExceededError: If it is a folder of too many files.
            NotACheckpointError: If it is empty.
        """
        address = allowed_source(text, self._settings.sources)
        from convlast.stores.refusals import unavailable

        options = replace(self._options(), patience_s=LOOK_S)
        try:
            # A server may send a byte now and then, for hours.
            async with asyncio.timeout(LOOK_S + options.timeout_s):
                found = await self._look_at(address, options)
        except TimeoutError:
            raise unavailable(address, "away") from None
        if found.bytes > self._settings.max_upload_bytes:
            raise UploadTooLargeError.beyond(self._settings.max_upload_bytes)
        if not found.bytes:
            raise NotACheckpointError("The checkpoint is empty.")
        return found

    async def _look_at(self, address: Address, options: StoreOptions) -> Found:
        if address.is_folder:
            folder = await self._look_through(address, options)
            names = tuple(each.name for each in folder.files)
            return Found(address, folder.version, folder.size_bytes, names)
        from convlast.stores.reading import stat

        found = await stat(address, options)
        return Found(address, found.version, found.size_bytes)

    async def _look_through(self, address: Address, options: StoreOptions) -> PackedFolder:
        settings = self._settings
        return await PackedFolder.look(
            address, settings.sources, options, max_files=settings.limits.max_files
        )

    async def fetch(self, found: Found, path: Path, progress: Progress, *, share: str) -> str:
        """Fetch a checkpoint into a new file; if this raises, there is none.

        A model folder becomes a tar.

        Args:
            found: The checkpoint, which must not have changed.
            path: The file.
            progress: Hears how far it is.
            share: The client that it counts for.

        Returns:
            The digest of its bytes, or of the listing of a folder, in hexadecimal.

        Raises:
            StoreError: If it cannot be fetched, has changed, or is not allowed any more.
            TimedOutError: If it takes too long.
            OSError: If the file cannot be written.
        """
        # The operator may have changed the setting since the job was accepted.
        allowed_source(found.address.text, self._settings.sources)
        fetch = self._fetch_folder if found.address.is_folder else self._fetch_file
        limit_s = self._settings.upload_timeout_s
        try:
            async with self._slots.taken(share), asyncio.timeout(limit_s):
                return await fetch(found, path, telling(progress, STAGE))
        except TimeoutError:
            raise TimedOutError(
                f"Fetching the checkpoint took longer than {limit_s:g} s.",
                remedy="Raise CONVLAST_UPLOAD_TIMEOUT_S.",
            ) from None

    async def _fetch_file(self, found: Found, path: Path, progress: Progress) -> str:
        from convlast.stores.reading import fetch

        fetched = await fetch(
            found.address,
            path,
            self._options(),
            version=found.version,
            max_bytes=found.bytes,
            progress=progress,
        )
        return fetched.sha256

    async def _fetch_folder(self, found: Found, path: Path, progress: Progress) -> str:
        from convlast.stores.refusals import changed

        options = self._options()
        folder = await self._look_through(found.address, options)
        if folder.size_bytes != found.bytes or folder.version != found.version:
            raise changed(found.address)
        return await folder.fetch(path, options, progress)
