"""A model folder in a store, which is fetched as one tar."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from convlast.errors import SourceNotFoundError
from convlast.progress import Portions, Progress
from convlast.report.folder_digest import listing_digest
from convlast.stores.address import Address
from convlast.stores.together import together
from service.cancellation import completed
from service.threads import READING, WRITING
from service.transfers.allowed import allowed_source
from service.transfers.packing import Member, packed, packed_bytes, placed, write_headers

if TYPE_CHECKING:
    from convlast.stores.opening import StoreOptions
    from convlast.stores.reading import Listed


@dataclass(frozen=True)
class PackedFolder:
    """The files of a model folder, as they were when it was looked at.

    Attributes:
        address: Where it is.
        files: Its files, by name.
    """

    address: Address
    files: list[Listed]

    @cached_property
    def members(self) -> list[Member]:
        """Where each file goes in the tar."""
        return placed((each.name, each.size_bytes) for each in self.files)

    @property
    def size_bytes(self) -> int:
        """The size of the tar."""
        return packed_bytes(self.members)

    @property
    def version(self) -> str:
        """Tells it from the same folder with other files; empty if its store tells no versions."""
        if not all(each.version for each in self.files):
            return ""
        lines = (f"{each.name}\n{each.size_bytes}\n{each.version}\n" for each in self.files)
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    @classmethod
    async def look(
        cls, address: Address, prefixes: Iterable[str], options: StoreOptions, *, max_files: int
    ) -> PackedFolder:
        """Look at a folder.

        Args:
            address: Where it is.
            prefixes: The setting `sources`.
            options: How its store is asked.
            max_files: How many files it may have.

        Raises:
            LimitExceededError: If it has more.
            SourceNotFoundError: If it has none.
            AddressNotAllowedError: If a file in it is a link to one that is not allowed.
            StoreError: If it cannot be listed.
        """
        from convlast.stores.reading import listing

        found = await listing(address, options, max_files=max_files)
        # A key that ends with a slash stands for an empty folder.
        files = [each for each in found if not each.name.endswith("/")]
        if not files:
            raise SourceNotFoundError(f"There is no file under {address}.", address=str(address))
        if address.scheme == "file":
            await READING.run(_refuse_links_out, files, list(prefixes))
        return cls(address, files)

    async def fetch(self, path: Path, options: StoreOptions, progress: Progress) -> str:
        """Fetch all files into a new tar, as many at once as one file would have requests.

        Args:
            path: The tar; if this raises, there is none.
            options: How the store is asked.
            progress: Hears how far it is.

        Returns:
            The digest of the listing, as a report has it for a folder.

        Raises:
            StoreError: If one cannot be fetched, or has changed.
            OSError: If the tar cannot be written.
        """
        from convlast.stores.reading import fetch_into

        portions = Portions(progress, "download", sum(each.size_bytes for each in self.files))
        turns, one = asyncio.Semaphore(options.parallel), replace(options, parallel=1)
        digests: dict[str, str] = {}

        async def fetch_one(tar: int, file: Listed, member: Member) -> None:
            async with turns:
                fetched = await fetch_into(
                    tar,
                    file.address,
                    one,
                    at=member.place.start,
                    version=file.version,
                    max_bytes=file.size_bytes,
                    taken=portions.add,
                )
                digests[file.name] = fetched.sha256

        with packed(path, self.members) as tar:
            await completed(WRITING.run(write_headers, tar, self.members))
            each = zip(self.files, self.members, strict=True)
            await together(fetch_one(tar, file, member) for file, member in each)
        return listing_digest(digests.items())


def _refuse_links_out(files: list[Listed], prefixes: list[str]) -> None:
    """Refuse a file that is not where it seems to be.

    Raises:
        AddressNotAllowedError: If one is a link to a file that is not allowed.
    """
    for each in files:
        allowed_source(each.address.text, prefixes)
