"""A source at an address, brought to this machine: a file, or a model folder under a prefix."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from convlast.addressed.background import Background
from convlast.errors import SourceNotFoundError
from convlast.errors.full_disk import full_disk_translated
from convlast.folders.member_names import Names
from convlast.options import Limits
from convlast.places.leftovers import temporary_tree
from convlast.progress import Portions, Progress, silent
from convlast.stores.address import Address, is_address
from convlast.stores.together import together

if TYPE_CHECKING:
    from convlast.conversion import Source
    from convlast.stores.opening import StoreOptions
    from convlast.stores.reading import Listed

_LIMITS = Limits()


@dataclass(frozen=True)
class Fetched:
    """A source that is on this machine.

    Attributes:
        path: Where it is; its name is that of the source.
        sha256: The digest of its bytes, if it is a file that was fetched.
    """

    path: Path
    sha256: str | None = None

    def as_source(self) -> Path | Source:
        """Return it as the verbs take it: with its digest, which need not be computed again."""
        if self.sha256 is None:
            return self.path
        from convlast.conversion import Source  # torch takes seconds

        return replace(Source.of(self.path), known_sha256=self.sha256)


@contextmanager
def fetched(
    source: str | os.PathLike[str],
    *,
    limits: Limits = _LIMITS,
    progress: Progress = silent,
    stores: StoreOptions | None = None,
    meanwhile: Callable[[], object] | None = None,
) -> Iterator[Fetched]:
    """Bring a source to this machine for as long as it is needed; a path is here already.

    Args:
        source: A path, or an address: of a file, or with a slash at its end of a model folder.
        limits: How many files a folder may have.
        progress: Called as `progress("download", done, total)`.
        stores: How stores are asked.
        meanwhile: What is done while it arrives.

    Raises:
        StoreError: If it cannot be fetched.
        StorageFullError: If the file system of the temporary files fills up.
    """
    if not is_address(os.fsdecode(source)):
        yield Fetched(Path(source))
        return
    address = Address.parse(os.fsdecode(source))
    with scratch() as folder:
        with Background() as background:
            arriving = background.start(_bring(address, folder, limits, progress, stores))
            if meanwhile is not None:
                meanwhile()
            found = arriving.result()
        yield found


@contextmanager
def scratch() -> Iterator[Path]:
    """Make a folder among the temporary files; nothing of it is left in the end.

    Raises:
        StorageFullError: If the file system fills up.
    """
    remedy = (
        "Free room for the checkpoint, and for its artifact, where temporary files lie: TMPDIR."
    )
    with full_disk_translated(remedy=remedy), temporary_tree(prefix="convlast-") as folder:
        yield folder


async def _bring(
    address: Address,
    folder: Path,
    limits: Limits,
    progress: Progress,
    stores: StoreOptions | None = None,
) -> Fetched:
    """Fetch a file, or all files of a model folder, into a folder of this machine.

    Raises:
        StoreError: If that cannot be done.
    """
    from convlast.stores.opening import StoreOptions
    from convlast.stores.reading import fetch

    options = stores or StoreOptions()
    if address.is_folder:
        return await _bring_folder(address, folder, limits, progress, options)
    path = folder / address.name
    found = await fetch(address, path, options, progress=progress)
    return Fetched(path, found.sha256)


async def _bring_folder(
    address: Address, folder: Path, limits: Limits, progress: Progress, options: StoreOptions
) -> Fetched:
    """Fetch all files, as many at once as one file would have requests.

    Raises:
        SourceNotFoundError: If there is none.
        MalformedCheckpointError: If one has a name that no file can have.
    """
    from convlast.stores.reading import fetch, listing

    # A key that ends with a slash stands for an empty folder.
    files = [each for each in await listing(address, options) if not each.name.endswith("/")]
    if not files:
        raise SourceNotFoundError(f"There is no file under {address}.", address=str(address))
    names, root = Names(limits), folder / (address.name or address.root)
    places = {each: root / names.take(each.name, is_folder=False) for each in files}
    portions = Portions(progress, "download", sum(each.size_bytes for each in files))
    turns, one = asyncio.Semaphore(options.parallel), replace(options, parallel=1)

    async def bring_one(file: Listed, path: Path) -> None:
        async with turns:
            path.parent.mkdir(parents=True, exist_ok=True)
            await fetch(file.address, path, one, version=file.version, taken=portions.add)

    await together(bring_one(file, path) for file, path in places.items())
    return Fetched(root)
