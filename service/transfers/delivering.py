"""Delivers the results of a job to a store: the reports, and the artifact last."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from convlast.progress import Progress, silent
from service.errors import TimedOutError
from service.settings import Settings
from service.transfers.allowed import allowed_target
from service.transfers.slots import Slots
from service.transfers.telling import telling

if TYPE_CHECKING:
    from convlast.stores.opening import StoreOptions

MOST_AT_ONCE = 8
"""Results that are delivered at once."""

STAGE = "deliver"


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
        from convlast.stores.writing import put

        limit_s, last = self._settings.download_timeout_s, [*files][-1]
        try:
            # Otherwise the report of one job could lie beside the artifact of another.
            place = self._places.setdefault(folder.child(last).text, asyncio.Lock())
            async with place, self._slots.taken(share), asyncio.timeout(limit_s):
                for name, path in files.items():
                    told = telling(progress if name == last else silent, STAGE)
                    await put(path, folder.child(name), self._options(), progress=told)
        except TimeoutError:
            raise TimedOutError(
                f"Delivering the results took longer than {limit_s:g} s.",
                remedy="Raise CONVLAST_DOWNLOAD_TIMEOUT_S.",
            ) from None
