"""A request for a job, whose checkpoint is here or in a store."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass

from convlast.jobs import JobVerb
from convlast.options import Options
from convlast.version import __version__
from service.jobs.entry import JobEntry
from service.jobs.records import Accepted
from service.storage.workspace import JobFolder
from service.transfers.fetching import Found


@dataclass(frozen=True)
class Source:
    """A checkpoint, and what to do with it.

    Attributes:
        filename: The client's name for it.
        sha256: Its digest, in hexadecimal; empty if it is in a store.
        bytes: Its size.
        options: The options.
        is_held: Whether it is kept of an earlier job, and not in the folder of the submission.
        found: Where it is, if it is in a store.
        target: The address of a folder that gets the results, if there is one.
        statement: Whether it also gets the statement on the artifact.
    """

    filename: str
    sha256: str
    bytes: int
    options: Options
    is_held: bool = False
    found: Found | None = None
    target: str | None = None
    statement: bool = False

    @property
    def content(self) -> list[str]:
        """What of it decides the result: its bytes, or the version in its store, and the target.

        Two requests for a checkpoint whose store tells no version are not the same.
        """
        target = [self.target] if self.target else []
        target += ["statement"] if self.statement else []
        if self.found is None:
            return [self.sha256, *target]
        version = self.found.version or secrets.token_hex(16)
        return [self.found.address.text, version, *target]


@dataclass
class Submission:
    """A request for a job.

    Attributes:
        owner: The owner.
        share: The client that it counts for.
        verb: What is asked for.
        source: The checkpoint.
        folder: The folder with the upload.
        upload_s: Wall time of the upload.
        request_id: The request.
        traceparent: Its span.
        is_durable: Whether the job is written down, and goes on when no client waits.
        is_kept: Whether its result is stored.
        is_taken: Whether the folder belongs to the job, or is removed already.
        entry: The job that it waits for, once there is one.
    """

    owner: str
    share: str
    verb: JobVerb
    source: Source
    folder: JobFolder
    upload_s: float
    request_id: str | None = None
    traceparent: str | None = None
    is_durable: bool = False
    is_kept: bool = False
    is_taken: bool = False
    entry: JobEntry | None = None

    @property
    def is_stored(self) -> bool:
        """Whether something is stored of the job; otherwise no store need be there."""
        return self.is_durable or self.is_kept

    def waits_for(self, entry: JobEntry) -> None:
        """Note that the request waits for this job."""
        self.entry = entry
        entry.waiters += 1

    def accepted(self, job_id: str) -> Accepted:
        """Return what is written of it."""
        source = self.source
        return Accepted(
            id=job_id,
            owner=self.owner,
            share=self.share,
            verb=self.verb,
            filename=source.filename,
            sha256=source.sha256,
            bytes=source.bytes,
            source=source.found.address.text if source.found else None,
            source_version=source.found.version if source.found else "",
            target=source.target,
            statement=source.statement,
            options=source.options.model_dump(mode="json"),
            request_id=self.request_id,
            traceparent=self.traceparent,
            created_at=time.time(),
            version=__version__,
        )
