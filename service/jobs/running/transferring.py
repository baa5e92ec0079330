"""The first and the last stage of a job whose checkpoint or results are in a store."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from convlast.stores.address import Address
from service.cancellation import completed
from service.jobs.entry import DELIVER, DOWNLOAD, JobEntry
from service.jobs.records import ARTIFACT, KeptFile
from service.threads import RECORDING
from service.transfers import Transfers
from service.transfers.delivering import Delivering
from service.transfers.fetching import Found
from service.transfers.unpacked_folder import UnpackedFolder
from service.workers import REPORT_HTML, REPORT_JSON

_DIGEST = "sha256"


async def fetch(entry: JobEntry, transfers: Transfers) -> None:
    """Fetch the checkpoint of a job, unless it is here.

    Nothing of it is kept for a restart, after which it is fetched again, in the same version.

    Raises:
        ConvlastError: If it cannot be fetched.
        OSError: If it cannot be written.
    """
    accepted = entry.accepted
    if accepted.source is None or entry.fetched_sha256 is not None:
        return
    entry.source = entry.folder.upload
    found = Found(Address.parse(accepted.source), accepted.source_version, accepted.bytes)
    with _stage(entry, DOWNLOAD, accepted.bytes):
        entry.fetched_sha256 = await transfers.fetching.fetch(
            found, entry.source, entry.moves, share=accepted.share
        )
    entry.waits_again()


async def deliver(
    entry: JobEntry, files: dict[str, KeptFile], made: Path, transfers: Transfers
) -> dict[str, KeptFile]:
    """Deliver the results of a job, if it has a target, and return those that are kept here.

    The artifact is then in its target alone. It comes last: who sees it sees its reports.

    Raises:
        ConvlastError: If they cannot be delivered.
    """
    target, artifact = entry.accepted.target, files.get(ARTIFACT)
    if target is None or artifact is None:
        return files
    with _stage(entry, DELIVER, artifact.bytes):
        if entry.accepted.is_packed:
            await _deliver_folder(entry, made, target, transfers.delivering)
        else:
            await _deliver_file(entry, artifact, made, target, transfers.delivering)
    return {name: file for name, file in files.items() if name != ARTIFACT}


async def _deliver_file(
    entry: JobEntry, artifact: KeptFile, made: Path, target: str, delivering: Delivering
) -> None:
    line = f"{artifact.sha256}  {artifact.filename}\n"
    await completed(RECORDING.run((made / _DIGEST).write_text, line))
    files = _named(artifact.filename, made)
    await delivering.deliver(files, target, entry.moves, share=entry.accepted.share)


async def _deliver_folder(entry: JobEntry, made: Path, target: str, delivering: Delivering) -> None:
    accepted = entry.accepted
    folder = UnpackedFolder(
        source=entry.source,
        made=made / ARTIFACT,
        reports={".report.html": made / REPORT_HTML, ".report.json": made / REPORT_JSON},
        digests=made / _DIGEST,
    )
    await delivering.deliver_folder(
        folder, accepted.source or "", target, entry.moves, share=accepted.share
    )


def _named(filename: str, made: Path) -> Mapping[str, Path]:
    """Return the files by the names that they get beside the artifact, and this last."""
    stem = Path(filename).stem
    return {
        f"{stem}.report.json": made / REPORT_JSON,
        f"{stem}.report.html": made / REPORT_HTML,
        f"{stem}.sha256": made / _DIGEST,
        filename: made / ARTIFACT,
    }


@contextmanager
def _stage(entry: JobEntry, stage: str, total_bytes: int) -> Iterator[None]:
    """Tell of a stage, and time it."""
    began_s = time.monotonic()
    entry.moves(stage, 0, total_bytes)
    try:
        yield
        entry.moves(stage, total_bytes, total_bytes)
    finally:
        entry.transfer_s[stage] = time.monotonic() - began_s
