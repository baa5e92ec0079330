"""Where jobs run: behind one small interface, so that a cluster can stand where processes do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, get_args

from pydantic import BaseModel, ConfigDict, Field

from convlast.options import Limits, Options
from convlast.progress import Progress, TimedStage
from convlast.report import Verdict
from service.sandbox.wall import Wall

REPORT_JSON, REPORT_HTML = "report.json", "report.html"

MAX_EMBEDDED_BYTES = 512 << 10
"""The size of a report that a refusal carries: a thousand layers without a smoke. It is parsed in
one piece, and nothing else of the service runs meanwhile."""

STAGES = (*get_args(TimedStage), "report")
"""The stages of which a worker tells the wall time."""

Crc32 = Annotated[int, Field(ge=0, lt=1 << 32)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Job(BaseModel):
    """One checkpoint and what is to be done with it, as it is sent to a worker."""

    model_config = ConfigDict(frozen=True)

    id: str
    verb: Literal["convert", "inspect"]
    source: Path
    """The checkpoint."""
    folder: Path
    """Where the artifact, `report.json` and `report.html` are written."""
    filename: str
    """The checkpoint's name, as its user knows it."""
    sha256: str | None = None
    """The digest of its bytes, which was taken as they came in."""
    options: Options = Options()
    limits: Limits = Limits()
    allow_programs: bool = False
    architecture_prefixes: tuple[str, ...] | None = None


class Made(BaseModel):
    """A file that a job has written into its folder."""

    filename: str = Field(max_length=1024)
    """What its user may call it; never a path."""
    crc32: Crc32 | None = None
    """What a zip states of it."""


class Finished(BaseModel):
    """What a worker answers when the job is done.

    What the service can see for itself is not asked for: sizes, and how long the job took.
    """

    event: Literal["finished"] = "finished"
    verdict: Verdict
    artifact: Made | None = None
    artifact_sha256: Sha256 | None = None
    reports: list[Made] = Field(default_factory=list, max_length=2)
    seconds: dict[str, Seconds] = Field(default_factory=dict)
    """Wall time of each of `STAGES`."""


class Health(BaseModel):
    """How the workers are.

    Attributes:
        ready: Whether a job that comes now would be run.
        busy: Whether one runs.
        since_probe_s: Seconds since the device did its last small operation.
        facts: Versions, device and memory, as the worker told them.
        walls: The walls of the worker's sandbox, and whether each stands.
        problem: What is wrong, where something is.
    """

    ready: bool
    busy: bool
    since_probe_s: float | None = None
    facts: dict[str, Any] = Field(default_factory=dict)
    walls: list[Wall] = Field(default_factory=list)
    problem: str | None = None


def known_trouble(facts: dict[str, Any]) -> list[str]:
    """Name what runs, but badly or not where it should, as a worker knows it of its device."""
    told = facts.get("known_trouble")
    return told if isinstance(told, list) else []


class Confinement(BaseModel):
    """What a worker is held to."""

    model_config = ConfigDict(frozen=True)

    folder: Path
    """Where each worker gets a folder of its own, on the file system of the jobs."""
    max_memory_bytes: int
    """Anonymous memory that a worker may have, beside what its job's file takes."""
    max_file_bytes: int
    """The size beyond which it can write no file."""
    is_required: bool = False
    """Whether a worker behind a wall that does not stand gets no job."""


class Workers(Protocol):
    """Something that runs jobs, one at a time for each device."""

    async def start(self) -> None:
        """Begin to prepare the first worker; returns at once."""

    async def stop(self) -> None:
        """End what waits; a job that runs ends with the task that waits for it."""

    async def run(self, job: Job, progress: Progress) -> Finished:
        """Run a job when its turn comes; cancelling this stops it.

        Returns:
            What came of it, with the seconds of `queue` and `convert` before those of `STAGES`.

        Raises:
            ConvlastError: If the job ended without an answer.
            ProblemError: If the job was refused.
        """

    def health(self) -> Health:
        """Tell how they are; never waits."""
