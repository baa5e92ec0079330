"""Reading objects, and what folders hold."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import obstore

from convlast.errors import AddressError, LimitExceededError
from convlast.progress import Portions, Progress, silent
from convlast.stores.address import Address
from convlast.stores.opening import StoreOptions, open_store
from convlast.stores.parts import Parts
from convlast.stores.patience import patiently
from convlast.stores.refusals import changed, translated
from convlast.stores.source import Source, Stat, StoredSource
from convlast.stores.web import WebSource, web_client

__all__ = ["Fetched", "Listed", "Stat", "fetch", "fetch_into", "listing", "stat"]


@dataclass(frozen=True)
class Fetched:
    """An object that was written to a file.

    Attributes:
        size_bytes: Its size.
        sha256: Its SHA-256, in hexadecimal.
        version: Its version, as `Stat` has it.
    """

    size_bytes: int
    sha256: str
    version: str


@dataclass(frozen=True)
class Listed:
    """An object in a folder.

    Attributes:
        address: Where it is.
        name: Its name within the folder, with slashes.
        size_bytes: Its size.
        version: Its version, as `Stat` has it.
    """

    address: Address
    name: str
    size_bytes: int
    version: str


async def stat(address: Address, options: StoreOptions | None = None) -> Stat:
    """Return the size and the version of an object.

    Args:
        address: Where it is.
        options: How its store is asked.

    Raises:
        SourceNotFoundError: If nothing is there.
        StoreError: If it cannot be asked for.
    """
    options = options or StoreOptions()
    async with _source(address, options) as source:
        return await patiently(source.stat, options)


async def fetch(  # noqa: PLR0913  # how it is asked for, and what is done on the way
    address: Address,
    path: Path,
    options: StoreOptions | None = None,
    *,
    version: str = "",
    max_bytes: int | None = None,
    taken: Callable[[int], object] | None = None,
    progress: Progress = silent,
) -> Fetched:
    """Write an object to a new file, in ranges, each of the same version.

    Args:
        address: Where it is.
        path: The file, which must not exist, and does not exist if this raises.
        options: How its store is asked.
        version: The version that it must have, if another one is of no use.
        max_bytes: How large it may be.
        taken: Called with the size of each piece that was written; what it raises ends the work.
        progress: Told of the stage `download`.

    Raises:
        SourceNotFoundError: If nothing is there.
        SourceChangedError: If it has another version, or is replaced meanwhile.
        LimitExceededError: If it is larger than `max_bytes`.
        StorageFullError: If the disk is full.
        StoreError: If it cannot be read.
    """
    with _new_file(path) as file:
        return await fetch_into(
            file,
            address,
            options,
            version=version,
            max_bytes=max_bytes,
            taken=taken,
            progress=progress,
        )


async def fetch_into(  # noqa: PLR0913  # as `fetch`, and where in the file
    file: int,
    address: Address,
    options: StoreOptions | None = None,
    *,
    at: int = 0,
    version: str = "",
    max_bytes: int | None = None,
    taken: Callable[[int], object] | None = None,
    progress: Progress = silent,
) -> Fetched:
    """Write an object into an open file, as `fetch` writes one to a file of its own.

    Args:
        file: The descriptor of the file.
        address: Where the object is.
        options: How its store is asked.
        at: Where in the file it begins.
        version: The version that it must have, if another one is of no use.
        max_bytes: How large it may be.
        taken: Called with the size of each piece that was written; what it raises ends the work.
        progress: Told of the stage `download`.

    Raises:
        SourceNotFoundError: If nothing is there.
        SourceChangedError: If it has another version, or is replaced meanwhile.
        LimitExceededError: If it is larger than `max_bytes`.
        StorageFullError: If the disk is full.
        StoreError: If it cannot be read.
    """
    options = options or StoreOptions()
    async with _source(address, options) as source:
        found = await patiently(source.stat, options)
        if version and found.version != version:
            raise changed(address)
        if max_bytes is not None and found.size_bytes > max_bytes:
            raise LimitExceededError(
                f"The object at {address} is too large",
                limit="max_upload_bytes",
                allowed=max_bytes,
                found=found.size_bytes,
            )
        portions = Portions(progress, "download", found.size_bytes)

        def told(count: int) -> None:
            if taken is not None:
                taken(count)
            portions.add(count)

        sha256 = await Parts(address, source, found, options, at=at).take(file, told)
    return Fetched(found.size_bytes, sha256, found.version)


async def listing(
    address: Address, options: StoreOptions | None = None, *, max_files: int | None = None
) -> list[Listed]:
    """Return all objects in a folder and the folders in it, by name.

    Args:
        address: The folder. One that does not exist holds nothing.
        options: How its store is asked.
        max_files: How many there may be.

    Raises:
        AddressError: If it is an https:// address, or a name in it is none that a file can have.
        LimitExceededError: If there are more than `max_files`.
        StoreError: If it cannot be listed.
    """
    options = options or StoreOptions()
    if address.scheme == "https":
        raise AddressError(
            f"{address} cannot be listed: a web server has no folders.", address=str(address)
        )
    store = open_store(address, options)
    folder = address.path.rstrip("/")

    async def listed() -> list[Listed]:
        there: list[Listed] = []
        with translated(address):
            async for batch in obstore.list(store, prefix=folder or None):
                there += [_listed(address, folder, meta) for meta in batch]
                if max_files is not None and len(there) > max_files:
                    break
        return there

    found = await patiently(listed, options)
    if max_files is not None and len(found) > max_files:
        raise LimitExceededError(
            f"There are many files under {address}",
            limit="max_files",
            allowed=max_files,
            found=len(found),
        )
    folders = {name[:end] for name in (each.name for each in found) for end in _slashes(name)}
    # Consoles make an empty object to stand for a folder, this one too.
    there = [each for each in found if each.size_bytes or each.name not in {"", *folders}]
    return sorted(there, key=lambda each: each.name)


def _slashes(name: str) -> list[int]:
    return [place for place, letter in enumerate(name) if letter == "/"]


def _listed(folder: Address, path: str, meta: obstore.ObjectMeta) -> Listed:
    name = meta["path"].removeprefix(path).lstrip("/")
    return Listed(folder.child(name), name, meta["size"], meta["e_tag"] or "")


@contextmanager
def _new_file(path: Path) -> Iterator[int]:
    """Make a file, which is removed if anything goes wrong."""
    with path.open("x+b") as file:
        try:
            yield file.fileno()
        except BaseException:
            path.unlink(missing_ok=True)
            raise


@asynccontextmanager
async def _source(address: Address, options: StoreOptions) -> AsyncIterator[Source]:
    if address.is_folder:
        raise AddressError(
            f"{address} names a folder, where one object is asked for.", address=str(address)
        )
    if address.scheme != "https":
        yield StoredSource(address, options)
        return
    async with web_client(options) as client:
        yield WebSource(address, client)
