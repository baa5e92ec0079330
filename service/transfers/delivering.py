"""Delivers the results of a job to a store: the reports, and the artifact last."""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

import structlog

from convlast.errors import SourceChangedError, SourceNotFoundError
from convlast.progress import Progress, silent
from convlast.stores.address import Address
from service.errors import TimedOutError
from service.settings import Settings
from service.threads import HASHING
from service.transfers.allowed import allowed_target
from service.transfers.slots import Slots
from service.transfers.telling import telling

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

    async def deliver(
        self, files: Mapping[str, Path], target: str, progress: Progress, *, share: str
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

        Raises:
            StoreError: If they cannot be delivered.
            TimedOutError: If it takes too long.
        """
        # The operator may have changed the setting since the job was accepted.
        folder = allowed_target(target, self._settings.targets)
        limit_s, (*early, last) = self._settings.download_timeout_s, files
        try:
            # Otherwise the report of one job could lie beside the artifact of another.
            place = self._places.setdefault(folder.child(last).text, asyncio.Lock())
            async with place, self._slots.taken(share), asyncio.timeout(limit_s):
                for tries in count(1):
                    began_s = time.monotonic()
                    await self._send(files, folder, progress)
                    if all([await self._is_own(files[name], folder.child(name)) for name in early]):
                        break
                    _log.warning("another service delivers to the same name", target=str(folder))
                    # Otherwise two that are equally fast might never end.
                    longest_s = tries * (time.monotonic() - began_s)
                    await asyncio.sleep(random.uniform(0, longest_s))  # noqa: S311  # no secret
        except TimeoutError:
            raise TimedOutError(
                f"Delivering the results took longer than {limit_s:g} s.",
                remedy="Raise CONVLAST_DOWNLOAD_TIMEOUT_S.",
            ) from None

    async def _send(self, files: Mapping[str, Path], folder: Address, progress: Progress) -> None:
        from convlast.stores.writing import put

        *_, last = files
        for name, path in files.items():
            told = telling(progress if name == last else silent, STAGE)
            await put(path, folder.child(name), self._options(), progress=told)

    async def _is_own(self, path: Path, address: Address) -> bool:
        """Return whether an object is still what was sent, or nothing is there any more."""
        from convlast.stores.reading import fetch

        back = path.with_name(f"{path.name}.back")
        try:
            fetched = await fetch(address, back, self._options())
            return fetched.sha256 == await HASHING.run(_sha256_of, path)
        except SourceNotFoundError:  # somebody has taken it
            return True
        except SourceChangedError:
            return False
        finally:
            back.unlink(missing_ok=True)


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
