"""What a job has made of a model folder: a tar, whose files are delivered one by one."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from convlast.errors import AddressNotAllowedError, LimitExceededError
from convlast.progress import Portions, Progress
from convlast.stores.address import Address
from convlast.stores.together import together
from service.cancellation import completed
from service.threads import HASHING, READING, RECORDING
from service.transfers.packing import Member, members_in, names_in

if TYPE_CHECKING:
    from convlast.stores.opening import StoreOptions

_HASHED_BYTES = 16 << 20
_HEAD_BYTES = 4096

_MOST_OTHERS = 1000
"""More objects are not listed: a bucket may have any number. Some only stand for folders."""

_log = structlog.get_logger()


@dataclass(frozen=True)
class UnpackedFolder:
    """A model folder that was converted, and its reports.

    Attributes:
        source: The tar that it was fetched into.
        made: The tar that a worker has made of it.
        reports: The files that go beside the folder, by their endings; the last one is seen last.
        digests: A file that this writes, for `sha256sum --check`.
        stated: Given the digest of each file, writes what is stated of them, and returns the files
            that go beside the folder too, by their endings.
        statements: All endings that these may have.
    """

    source: Path
    made: Path
    reports: Mapping[str, Path]
    digests: Path
    stated: Callable[[Mapping[str, str]], Mapping[str, Path]]
    statements: Sequence[str]

    async def names(self) -> list[str]:
        """Return the names of its files."""
        return await READING.run(names_in, self.source)

    async def put(self, place: Address, options: StoreOptions, progress: Progress) -> None:
        """Put all of it into a store: its files, then its indices, then its reports.

        Args:
            place: The folder that it becomes.
            options: How the store is asked.
            progress: Hears how far it is.

        Raises:
            StoreError: If something cannot be put.
            WorkerCrashedError: If the tar is not what it must be.
            OSError: If it cannot be read.
        """
        from convlast.stores.writing import put, remove

        members = await READING.run(members_in, self.made, await self.names())
        portions = Portions(progress, "deliver", sum(len(each.place) for each in members))
        turns, one = asyncio.Semaphore(options.parallel), replace(options, parallel=1)
        digests: dict[str, str] = {}

        async def put_one(member: Member) -> None:
            async with turns:
                digests[member.name] = await _digest(self.made, member.place)
                await put(self.made, place.child(member.name), one, part=member.place)
                portions.add(len(member.place))

        # An earlier delivery to this place said that the folder is whole, which it is not now, and
        # stated other files.
        *_, last = self.reports
        for ending in (last, *self.statements):
            await remove(place.beside(ending), options)
        indices = await READING.run(_indices_among, self.made, members)
        await together(put_one(each) for each in members if each not in indices)
        await together(put_one(each) for each in indices)
        lines = [f"{digests[each.name]}  {place.name}/{each.name}\n" for each in members]
        await completed(RECORDING.run(self.digests.write_text, "".join(lines), "utf-8"))
        in_order = {each.name: digests[each.name] for each in members}
        stated = await completed(RECORDING.run(self.stated, in_order))
        for ending, path in {".sha256": self.digests, **stated, **self.reports}.items():
            await put(path, place.beside(ending), options)


async def refuse_mixture(place: Address, names: Sequence[str], options: StoreOptions) -> None:
    """Refuse a folder in which something is that has nothing to do with these files.

    Raises:
        AddressNotAllowedError: If something is there under another name.
        StoreError: If the store does not say.
    """
    from convlast.stores.reading import listing

    try:
        there = await listing(place, options, max_files=2 * len(names) + _MOST_OTHERS)
    except LimitExceededError:
        raise _mixture(place, "many more files than in the source") from None
    if others := sorted({each.name for each in there} - set(names)):
        _log.warning("a target holds something else", target=str(place), name=others[0][:200])
        raise _mixture(place, "something that is not in the source")


def _mixture(place: Address, what: str) -> AddressNotAllowedError:
    return AddressNotAllowedError(
        f"In {place} there is something already: {what}. The files of both would be mixed.",
        address=str(place),
        remedy="Name an empty folder.",
    )


async def _digest(path: Path, part: range) -> str:
    """Return the SHA-256 of a part of a file; other work has its turn in between."""
    digest = hashlib.sha256()
    for piece in (
        part[start : start + _HASHED_BYTES] for start in range(0, len(part), _HASHED_BYTES)
    ):
        await HASHING.run(_add, digest, path, piece)
    return digest.hexdigest()


def _add(digest: hashlib._Hash, path: Path, part: range) -> None:
    with path.open("rb", buffering=0) as file:
        for start in part[:: 1 << 20]:
            digest.update(os.pread(file.fileno(), min(1 << 20, part.stop - start), start))


def _indices_among(path: Path, members: list[Member]) -> list[Member]:
    """Return the files that name the shards of a checkpoint: who sees one may look for all."""
    with path.open("rb", buffering=0) as file:
        return [
            each
            for each in members
            if each.name.endswith(".json")
            and b'"weight_map"'
            in os.pread(file.fileno(), min(_HEAD_BYTES, len(each.place)), each.place.start)
        ]
