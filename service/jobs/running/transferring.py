"""The first and the last stage of a job whose checkpoint or results are in a store."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Protocol

from convlast.stores.address import Address
from service.cancellation import completed
from service.jobs.entry import DELIVER, DOWNLOAD, JobEntry
from service.jobs.records import ARTIFACT, STATEMENTS, KeptFile
from service.threads import HASHING, RECORDING
from service.transfers import Transfers
from service.transfers.delivering import Delivering
from service.transfers.fetching import Found
from service.transfers.unpacked_folder import UnpackedFolder
from service.workers import REPORT_HTML, REPORT_JSON

_DIGEST = "sha256"


class State(Protocol):
    """Writes the statement on an artifact, and returns the files of it."""

    def __call__(
        self, artifact: KeptFile, unpacked: Mapping[str, str] | None = None
    ) -> dict[str, KeptFile]:
        """Write it, with the digests of the files that the artifact is unpacked to, if it is."""


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
    entry: JobEntry, files: dict[str, KeptFile], made: Path, transfers: Transfers, state: State
) -> dict[str, KeptFile]:
    """Deliver the results of a job, if it has a target, and return those that are kept here.

    The artifact is then in its target alone. It comes last: who sees it sees its reports.

    Args:
        entry: The job.
        files: What a worker has made.
        made: The folder of these.
        transfers: Delivers them.
        state: Writes the statement on the artifact, which is about the files that it becomes.

    Raises:
        ConvlastError: If they cannot be delivered.
    """
    target, artifact = entry.accepted.target, files.get(ARTIFACT)
    if artifact is None:
        return files
    if target is None or not entry.accepted.is_packed:
        files = {**files, **await completed(HASHING.run(state, artifact))}
    if target is None:
        return files
    with _stage(entry, DELIVER, artifact.bytes):
        if entry.accepted.is_packed:
            stated = partial(state, artifact)
            files = {**files, **await _deliver_folder(entry, made, target, transfers, stated)}
        else:
            await _deliver_file(entry, files, made, target, transfers.delivering)
    return {name: file for name, file in files.items() if name != ARTIFACT}


async def _deliver_file(
    entry: JobEntry, files: Mapping[str, KeptFile], made: Path, target: str, delivering: Delivering
) -> None:
    artifact = files[ARTIFACT]
    line = f"{artifact.sha256}  {artifact.filename}\n"
    await completed(RECORDING.run((made / _DIGEST).write_text, line))
    stated = [name for name in STATEMENTS if name in files and entry.accepted.statement]
    named = _named(artifact.filename, made, stated)
    stale = {_beside(artifact.filename, name) for name in STATEMENTS} - named.keys()
    await delivering.deliver(named, target, entry.moves, share=entry.accepted.share, stale=stale)


async def _deliver_folder(
    entry: JobEntry,
    made: Path,
    target: str,
    transfers: Transfers,
    state: Callable[[Mapping[str, str]], dict[str, KeptFile]],
) -> dict[str, KeptFile]:
    """Deliver what a model folder has become; return the files of the statement on it."""
    accepted = entry.accepted
    kept: dict[str, KeptFile] = {}

    def stated(digests: Mapping[str, str]) -> dict[str, Path]:
        kept.update(state(digests))
        wanted = [name for name in STATEMENTS if name in kept and accepted.statement]
        return {f".{name}": made / name for name in wanted}

    folder = UnpackedFolder(
        source=entry.source,
        made=made / ARTIFACT,
        reports={".report.html": made / REPORT_HTML, ".report.json": made / REPORT_JSON},
        digests=made / _DIGEST,
        stated=stated,
        statements=[f".{name}" for name in STATEMENTS],
    )
    await transfers.delivering.deliver_folder(
        folder, accepted.source or "", target, entry.moves, share=accepted.share
    )
    return kept


def _named(filename: str, made: Path, statements: Iterable[str]) -> Mapping[str, Path]:
    """Return the files by the names that they get beside the artifact, and this last."""
    others = (*statements, REPORT_JSON, REPORT_HTML, _DIGEST)
    early = {_beside(filename, name): made / name for name in others}
    return {**early, filename: made / ARTIFACT}


def _beside(filename: str, name: str) -> str:
    """Return the name that a file gets beside the artifact."""
    return f"{Path(filename).stem}.{name}"


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
