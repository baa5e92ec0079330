"""Delivers the results of a job to a store: the reports, and the artifact last."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

import structlog

from convlast.errors import LimitExceededError, SourceChangedError, SourceNotFoundError
from convlast.progress import Progress, silent
from convlast.stores.address import Address
from service.errors import TimedOutError
from service.settings import Settings
from service.threads import HASHING, READING
from service.transfers.allowed import allowed_place, allowed_target
from service.transfers.fetching import LOOK_S, Found
from service.transfers.slots import Slots
from service.transfers.telling import telling
from service.transfers.unpacked_folder import UnpackedFolder, refuse_mixture

if TYPE_CHECKING:
    from convlast.stores.opening import StoreOptions

MOST_AT_ONCE = 8
"""Results that are delivered at once."""

STAGE = "deliver"

_log = structlog.get_logger()


class Delivering:
    """Delivers results to the stores that are allowed."""

    def __init__(self, settings: Settings, options: Callable[[], StoreOptions]) -> None:
        """Set up.

        Args:
            settings: Which addresses are allowed, and for how long something is sent.
            options: Returns how stores are asked.
        """
        self._settings, self._options = settings, options
        self._slots = Slots(MOST_AT_ONCE)
        self._places: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def check(self, text: str, filename: str) -> str:
        """Return the address of a folder in its usual form.

        Args:
            text: The address.
            filename: A name that it must be able to hold.

        Raises:
            StoreError: If it is not allowed, no folder, or cannot hold this name.
        """
        folder = allowed_target(text, self._settings.targets)
        folder.child(filename)
        return folder.text

    async def check_folder(self, text: str, found: Found) -> str:
        """Return the address of the folder that a model folder becomes, in its usual form.

        Args:
            text: The address.
            found: The model folder.

        Raises:
            StoreError: If it is not allowed, or holds other files.
        """
        place = await self._allowed(text, found.address, found.names)
        await refuse_mixture(place, found.names, replace(self._options(), patience_s=LOOK_S))
        return place.text

    async def _allowed(self, text: str, source: Address, names: Sequence[str]) -> Address:
        return await READING.run(allowed_place, text, self._settings.targets, source, names)

    async def deliver(
        self,
        files: Mapping[str, Path],
        target: str,
        progress: Progress,
        *,
        share: str,
        stale: Collection[str] = (),
    ) -> None:
        """Send files to a folder, one after the other; each is visible whole or not at all.

        Another service may send others of these names at the same time. Whoever has sent the last
        file looks at all before it, and sends everything again if one is not its own. So, when all
        have ended, all files are of the same one.

        Args:
            files: The files, by the names that they get; the last one is seen last.
            target: The address of the folder.
            progress: Hears how much of the last file is sent.
            share: The client that it counts for.
            stale: Names that an earlier delivery may have left, and that would lie about this one.

        Raises:
            StoreError: If they cannot be delivered.
            TimedOutError: If it takes too long.
        """
        # The operator may have changed the setting since the job was accepted.
        folder = allowed_target(target, self._settings.targets)
        *early, last = files
        async with self._turn(folder.child(last), share):
            for tries in count(1):
                began_s = time.monotonic()
                await self._send(files, folder, progress, stale)
                if all([await self._is_own(files[name], folder.child(name)) for name in early]):
                    break
                _log.warning("another service delivers to the same name", target=str(folder))
                # Otherwise two that are equally fast might never end.
                longest_s = tries * (time.monotonic() - began_s)
                await asyncio.sleep(random.uniform(0, longest_s))  # noqa: S311  # no secret

    async def deliver_folder(
        self, made: UnpackedFolder, source: str, target: str, progress: Progress, *, share: str
    ) -> None:
        """Send what a model folder has become, file by file, and last its reports.

        Args:
            made: The folder.
            source: The address of what it was made of.
            target: The address of the folder that it becomes.
            progress: Hears how much of it is sent.
            share: The client that it counts for.

        Raises:
            StoreError: If it cannot be delivered.
            TimedOutError: If it takes too long.
            WorkerCrashedError: If it is not what it must be.
        """
        names, options = await made.names(), self._options()
        place = await self._allowed(target, Address.parse(source), names)
        async with self._turn(place, share):
            await refuse_mixture(place, names, options)
            await made.put(place, options, telling(progress, STAGE))

    @asynccontextmanager
    async def _turn(self, place: Address, share: str) -> AsyncIterator[None]:
        """Wait until nothing else goes to a place, and for a slot; then limit the time.

        Otherwise the report of one job could lie beside the artifact of another.

        Raises:
            TimedOutError: If it takes too long.
        """
        limit_s = self._settings.download_timeout_s
        lock = self._places.setdefault(place.text, asyncio.Lock())
        try:
            async with lock, self._slots.taken(share), asyncio.timeout(limit_s):
                yield
        except TimeoutError:
            raise TimedOutError(
                f"Delivering the results took longer than {limit_s:g} s.",
                remedy="Raise CONVLAST_DOWNLOAD_TIMEOUT_S.",
            ) from None

    async def _send(
        self,
        files: Mapping[str, Path],
        folder: Address,
        progress: Progress,
        stale: Collection[str],
    ) -> None:
        from convlast.stores.writing import put

        *_, last = files
        for name, path in files.items():
            if name == last:
                # As late as can be: another service may have sent one in the meantime.
                await self._remove(stale, folder)
            told = telling(progress if name == last else silent, STAGE)
            await put(path, folder.child(name), self._options(), progress=told)

    async def _remove(self, names: Collection[str], folder: Address) -> None:
        from convlast.stores.reading import stat
        from convlast.stores.writing import remove

        for name in names:
            try:
                await stat(folder.child(name), self._options())
            except SourceNotFoundError:
                continue  # most have none, and may lack the right to remove anything
            await remove(folder.child(name), self._options())

    async def _is_own(self, path: Path, address: Address) -> bool:
        """Return whether an object is still what was sent, or nothing is there any more."""
        from convlast.stores.reading import fetch

        back = path.with_name(f"{path.name}.back")
        try:
            most_bytes = await HASHING.run(os.path.getsize, path)
            fetched = await fetch(address, back, self._options(), max_bytes=most_bytes)
            return fetched.sha256 == await HASHING.run(_sha256_of, path)
        except SourceNotFoundError:  # somebody has taken it
            return True
        except (SourceChangedError, LimitExceededError):
            return False
        finally:
            back.unlink(missing_ok=True)


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
