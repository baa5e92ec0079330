"""What the service states of an artifact: written when a worker has made it, and signed.

A worker has opened an untrusted file, so it says little of this: its verdict, which hardware and
versions it ran on, and the digests of the tensors. The service itself knows the rest.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

from pydantic_core import from_json

from convlast.options import Options
from convlast.provenance.statement import (
    SERVICE,
    TENSORS,
    Resource,
    Run,
    report_resource,
    statement_of,
    text_of,
)
from service.access.signing import SigningKey
from service.errors import WorkerCrashedError
from service.headers.negotiation import HTML, JSON
from service.jobs.entry import JobEntry
from service.jobs.records import ARTIFACT, PROVENANCE_DSSE, PROVENANCE_JSON, KeptFile
from service.settings import Settings
from service.workers import MAX_EMBEDDED_BYTES, REPORT_HTML, REPORT_JSON, Finished
from service.workers.results import open_made, open_report

_PIECE_BYTES = 1 << 20


@dataclass(frozen=True)
class Stating:
    """Writes statements.

    Attributes:
        settings: The settings.
        key: Signs them.
    """

    settings: Settings
    key: SigningKey

    def write(
        self,
        entry: JobEntry,
        finished: Finished,
        made: Path,
        artifact: KeptFile,
        unpacked: Mapping[str, str] | None = None,
    ) -> dict[str, KeptFile]:
        """Write the statement on an artifact beside it, and its envelope if there is a key.

        Args:
            entry: The job.
            finished: The worker's answer.
            made: The folder of what it has made.
            artifact: The artifact.
            unpacked: The digests of the files that it was unpacked to, if it was.

        Returns:
            The files, by their names.

        Raises:
            WorkerCrashedError: If the worker has lied about the artifact or the verdict, or has
                such files.
            OSError: If they cannot be written.
        """
        if unpacked is not None:
            subjects = [Resource(name, sha256) for name, sha256 in unpacked.items()]
        else:
            subjects = [self._artifact(artifact, finished, made)]
        reports = [
            _report(made, finished),
            report_resource(REPORT_HTML, _sha256_of(made, REPORT_HTML), HTML),
        ]
        text = text_of(
            statement_of(
                subjects, [_source_of(entry, finished)], reports, self._run(entry, finished)
            )
        )
        texts = {PROVENANCE_JSON: text, PROVENANCE_DSSE: self.key.sign(text)}
        return {name: _kept(made, name, each) for name, each in texts.items() if each}

    def _artifact(self, artifact: KeptFile, finished: Finished, made: Path) -> Resource:
        """Return the artifact, whose digest the service itself computes if it signs it."""
        sha256 = artifact.sha256 or ""
        if self.key.keyid is not None and _sha256_of(made, ARTIFACT) != sha256:
            raise WorkerCrashedError.nonsense()
        return Resource(
            artifact.filename, sha256, annotations={TENSORS: finished.artifact_tensors_sha256}
        )

    def _run(self, entry: JobEntry, finished: Finished) -> Run:
        accepted = entry.accepted
        return Run(
            builder=SERVICE,
            source=accepted.shown_source or accepted.filename,
            target=accepted.shown_target,
            options=Options(**accepted.options),
            limits=self.settings.limits,
            environment=finished.environment,
            started_at=entry.standing.started_at or accepted.created_at,
            finished_at=time.time(),
            device=entry.standing.device,
            job_id=accepted.id,
            revision=self.settings.revision,
        )


def _source_of(entry: JobEntry, finished: Finished) -> Resource:
    accepted = entry.accepted
    return Resource(
        accepted.filename,
        entry.sha256 or "",
        is_folder=accepted.is_packed,
        uri=accepted.shown_source,
        annotations={TENSORS: finished.input_tensors_sha256},
    )


def _report(made: Path, finished: Finished) -> Resource:
    """Return the report, with the verdict that is in it; that of a large one is not read.

    Raises:
        WorkerCrashedError: If the worker has told another verdict.
    """
    with closing(open_report(made)) as opened:
        if opened.size_bytes > MAX_EMBEDDED_BYTES:
            return report_resource(REPORT_JSON, _sha256_of(made, REPORT_JSON), JSON)
        text = opened.read()
    if from_json(text).get("verdict") != finished.verdict:
        raise WorkerCrashedError.nonsense()
    return report_resource(REPORT_JSON, hashlib.sha256(text).hexdigest(), JSON, finished.verdict)


def _sha256_of(folder: Path, name: str) -> str:
    opened, digest = open_made(folder, name), hashlib.sha256()
    with closing(opened):
        for start in range(0, opened.size_bytes, _PIECE_BYTES):
            digest.update(opened.read_at(start, min(_PIECE_BYTES, opened.size_bytes - start)))
    return digest.hexdigest()


def _kept(folder: Path, name: str, text: bytes) -> KeptFile:
    """Write a file where a worker has written before, which may have left a link there."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(folder / name, flags, 0o600)
    except FileExistsError:
        raise WorkerCrashedError.nonsense() from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(text)
    return KeptFile(filename=name, bytes=len(text), crc32=crc32(text))
