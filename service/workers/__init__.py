"""The interface to the workers that run jobs, so that a cluster can replace local processes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, get_args

from pydantic import BaseModel, ConfigDict, Field

from convlast.options import Limits, Options
from convlast.progress import Progress, TimedStage
from convlast.report import Report, Verdict
from service.sandbox.wall import Wall

REPORT_JSON, REPORT_HTML = "report.json", "report.html"

MAX_EMBEDDED_BYTES = 512 << 10
"""Most bytes of a report in a refusal: a thousand layers without a smoke. Such a report is parsed
at once, which blocks the event loop."""

STAGES = (*get_args(TimedStage), "report")
"""The stages whose wall time a worker reports."""

Crc32 = Annotated[int, Field(ge=0, lt=1 << 32)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Job(BaseModel):
    """One checkpoint and what to do with it, as it is sent to a worker."""

    model_config = ConfigDict(frozen=True)

    id: str
    request_id: str | None = None
    """The request that it belongs to."""
    verb: Literal["convert", "inspect"]
    source: Path
    """The checkpoint."""
    folder: Path
    """The folder for the artifact, `report.json` and `report.html`."""
    filename: str
    """The client's name for the checkpoint."""
    sha256: str | None = None
    """The digest of its bytes, computed during the upload."""
    options: Options = Options()
    limits: Limits = Limits()
    allow_programs: bool = False
    architecture_prefixes: tuple[str, ...] | None = None

    def sign(self, report: Report) -> None:
        """Write the ids of the job and of its request into its report, as the log has them."""
        report.job_id, report.request_id = self.id, self.request_id


class Made(BaseModel):
    """A file that a job has written into its folder."""

    filename: str = Field(max_length=1024)
    """Its name; never a path."""
    crc32: Crc32 | None = None
    """Its CRC, for a zip."""


class Finished(BaseModel):
    """A worker's answer when the job is done.

    Sizes and the duration of the job are not in it: the service measures these itself.
    """

    event: Literal["finished"] = "finished"
    verdict: Verdict
    artifact: Made | None = None
    artifact_sha256: Sha256 | None = None
    reports: list[Made] = Field(default_factory=list, max_length=2)
    seconds: dict[str, Seconds] = Field(default_factory=dict)
    """Wall time of each of `STAGES`."""


class Health(BaseModel):
    """The health of the workers.

    Attributes:
        ready: Whether a job that comes now would be run.
        busy: Whether a job is running.
        since_probe_s: Seconds since the last probe that the device answered.
        facts: Versions, device and memory, as the worker reported them.
        walls: The walls of the worker's sandbox, and whether each is in place.
        problem: What is wrong, if something is.
    """

    ready: bool
    busy: bool
    since_probe_s: float | None = None
    facts: dict[str, Any] = Field(default_factory=dict)
    walls: list[Wall] = Field(default_factory=list)
    problem: str | None = None


def known_trouble(facts: dict[str, Any]) -> list[str]:
    """Return what a worker has reported as slow, broken or unused on its device."""
    told = facts.get("known_trouble")
    return told if isinstance(told, list) else []


class Confinement(BaseModel):
    """The limits of a worker."""

    model_config = ConfigDict(frozen=True)

    folder: Path
    """The parent of the workers' folders, on the file system of the jobs."""
    max_memory_bytes: int
    """Anonymous memory that a worker may use, in addition to an allowance for its job's file."""
    max_file_bytes: int
    """The largest file that it can write."""
    is_required: bool = False
    """Whether a worker gets no job if a wall of its sandbox is missing."""


class Workers(Protocol):
    """Runs jobs, one at a time on each device."""

    async def start(self) -> None:
        """Start to prepare the first worker, and return at once."""

    async def stop(self) -> None:
        """End the idle worker; a running job ends with the task that waits for it."""

    async def run(self, job: Job, progress: Progress) -> Finished:
        """Run a job when its turn comes; cancelling this stops the job.

        Returns:
            The worker's answer, with the seconds of `queue` and `convert` before those of `STAGES`.

        Raises:
            ConvlastError: If the job ended without an answer.
            ProblemError: If the job was refused.
        """

    def health(self) -> Health:
        """Return the health of the workers, without waiting."""
