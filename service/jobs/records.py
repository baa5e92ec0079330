"""What is written of a job: once when it is accepted, and once when it has ended."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from convlast.jobs import JobVerb
from convlast.report import Verdict
from convlast.stores.address import Address

ARTIFACT = "artifact"
"""The name of the artifact in the folder of its job; the client's name is in its `KeptFile`."""

PROVENANCE_JSON, PROVENANCE_DSSE = STATEMENTS = ("provenance.json", "provenance.dsse.json")
"""The statement on the artifact, and the same in a signed envelope, if the service had a key."""


class Accepted(BaseModel):
    """A job that was accepted: all that is needed to run it."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    id: str
    owner: str
    share: str
    """The client that it counts for."""
    verb: JobVerb
    filename: str
    """The client's name for the checkpoint."""
    sha256: str
    """The digest of the checkpoint, in hexadecimal; empty if it is to be fetched."""
    bytes: int
    """The size of the checkpoint."""
    source: str | None = None
    """The address that it is to be fetched from; its query may be a secret. One that ends with a
    slash is that of a model folder."""
    source_version: str = ""
    """Its version there, or that of all files of a folder; empty if the store tells none."""
    target: str | None = None
    """The address of a folder that gets the results."""
    statement: bool = False
    """Whether the folder also gets the statement on the artifact."""
    options: dict[str, Any]
    """All options as JSON; a later version may refuse them."""
    request_id: str | None = None
    traceparent: str | None = None
    """The span of that request, which is the parent of the job's, after a restart too."""
    created_at: float
    """Seconds since 1970."""
    version: str
    """The version of convlast that accepted it."""
    run: int = 0
    """How many jobs with this id a shared store has had before."""

    @property
    def is_packed(self) -> bool:
        """Whether its checkpoint is a folder in a store, which is packed on its way here."""
        return self.source is not None and Address.parse(self.source).is_folder

    @property
    def shown_source(self) -> str | None:
        """What may be shown of its source."""
        return _shown(self.source)

    @property
    def shown_target(self) -> str | None:
        """What may be shown of its target."""
        return _shown(self.target)

    @property
    def unpacked_as(self) -> str | None:
        """The name of the folder that its artifact becomes, if it becomes one."""
        return Address.parse(self.target).name if self.is_packed and self.target else None

    @property
    def name(self) -> str:
        """What it is stored below."""
        return f"{self.id}/run-{self.run}" if self.run else self.id


def _shown(address: str | None) -> str | None:
    return None if address is None else str(Address.parse(address))


class KeptFile(BaseModel):
    """A file that a job has made."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    filename: str
    """Its name for the client."""
    bytes: int
    crc32: int = 0
    sha256: str | None = None
    """Its digest, in hexadecimal; only that of an artifact is known."""


class Outcome(BaseModel):
    """How a job has ended."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    state: Literal["succeeded", "failed", "cancelled"]
    started_at: float | None = None
    finished_at: float
    """Seconds since 1970."""
    attempt: int = 0
    """Which attempt it is the outcome of."""
    made_in: str = ""
    """Where its files are below the job, if not below the number of the attempt."""
    device: str | None = None
    sha256: str | None = None
    """The digest of the checkpoint, in hexadecimal, if it was fetched."""
    seq: int = 0
    verdict: Verdict | None = None
    files: dict[str, KeptFile] = Field(default_factory=dict)
    """The files of the job, by their names in its folder."""
    seconds: dict[str, float] = Field(default_factory=dict)
    """Wall time of each stage."""
    problem: dict[str, Any] | None = None
    """Why it failed, as a problem document, without a report."""

    @property
    def code(self) -> str | None:
        """The code of its problem, if it has failed."""
        return self.problem["code"] if self.problem and self.state == "failed" else None

    @property
    def folder(self) -> str:
        """Where its files are, below the job."""
        return self.made_in or str(self.attempt)

    @property
    def file_bytes(self) -> int:
        """The size of all its files."""
        return sum(file.bytes for file in self.files.values())
