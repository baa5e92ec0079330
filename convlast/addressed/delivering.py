"""What goes into a store: a model folder, file by file, and the report beside an artifact."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from convlast.containers.sniffing import HEAD_BYTES, begins_like_an_index
from convlast.progress import Portions, Progress
from convlast.report import Report
from convlast.report.saving import KINDS
from convlast.stores.address import Address
from convlast.stores.opening import StoreOptions
from convlast.stores.together import together
from convlast.stores.writing import put


async def put_folder(made: Path, place: Address, options: StoreOptions, progress: Progress) -> None:
    """Put all files of a folder, as many at once as one file would have requests.

    An index comes after all else: who sees one may look for its shards.

    Raises:
        StoreError: If one cannot be put.
    """
    sizes_bytes = _sizes_in(made)
    portions = Portions(progress, "upload", sum(sizes_bytes.values()))
    turns, one = asyncio.Semaphore(options.parallel), replace(options, parallel=1)

    async def put_one(name: str, size_bytes: int) -> None:
        async with turns:
            await put(made / name, place.child(name), one)
            portions.add(size_bytes)

    indices = {name for name in sizes_bytes if _is_index(made / name)}
    for names in (sizes_bytes.keys() - indices, indices):
        await together(put_one(name, sizes_bytes[name]) for name in sorted(names))


def _is_index(file: Path) -> bool:
    with file.open("rb") as opened:
        return begins_like_an_index(opened.read(HEAD_BYTES))


def _sizes_in(folder: Path) -> dict[str, int]:
    """Return the size of each file in a folder, by its path there."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}


async def put_report(
    report: Report, place: Address, options: StoreOptions, workplace: Path
) -> None:
    """Put a report beside an artifact: its digests, the page, and last the JSON.

    Args:
        report: The report.
        place: Where the artifact is.
        options: How the store is asked.
        workplace: A folder of this machine, where the files are made.

    Raises:
        StoreError: If one of them cannot be put.
    """
    texts = {
        ".sha256": "".join(_digests(report, place.name)),
        ".report.html": KINDS[".html"](report),
        ".report.json": KINDS[".json"](report),
    }
    for ending, text in texts.items():
        file = workplace / f"about{ending}"
        file.write_text(text, encoding="utf-8")
        await put(file, place.beside(ending), options)


def _digests(report: Report, name: str) -> Iterator[str]:
    """Yield a line for each file, as `sha256sum --check` reads them beside the artifact."""
    artifact = report.artifact
    if artifact is not None and artifact.crc32 is not None:  # one file
        yield f"{artifact.sha256}  {name}\n"
        return
    for each in report.files:
        if each.artifact is not None:
            yield f"{each.artifact.sha256}  {name}/{each.path}\n"
