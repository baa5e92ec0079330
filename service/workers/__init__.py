"""The interface to the workers that run jobs, so that a cluster can replace local processes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict, Field

from convlast.options import Limits, Options
from convlast.progress import TimedStage
from convlast.report import Environment, Report, Verdict
from service.sandbox.wall import Wall

REPORT_JSON, REPORT_HTML = "report.json", "report.html"

MAX_EMBEDDED_BYTES = 512 << 10
"""Most bytes of a report in a refusal: a thousand layers without a smoke. Such a report is parsed
at once, which blocks the event loop."""

STAGES = (*get_args(TimedStage), "report")
"""The stages whose wall time a worker reports."""

WorkerEnd: TypeAlias = Literal[
    "answered",
    "cancelled",
    "timed-out",
    "crashed",
    "out-of-memory",
    "device-lost",
    "failed",
    "died-idle",
    "no-warm-up",
    "no-probe",
    "dismissed",
]
"""Why a worker has ended. It has answered its job; or its job was cancelled, timed out, crashed,
used too much memory, lost the device, or failed in the service; or it had no job, and died, was
not warm in time, did not answer a probe, or was not needed any more."""

Crc32 = Annotated[int, Field(ge=0, lt=1 << 32)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Job(BaseModel):
    """What to do with one checkpoint. It names no path, so another machine could do it."""

    model_config = ConfigDict(frozen=True)

    id: str
    request_id: str | None = None
    """The request that it belongs to."""
    trace_id: str | None = None
    """The trace of that request."""
    verb: Literal["convert", "inspect"]
    filename: str
    """The client's name for the checkpoint."""
    sha256: str | None = None
    """The digest of its bytes, computed during the upload."""
    is_packed: bool = False
    """Whether it is a folder, packed into a tar on its way here; the report tells of the folder."""
    loaded_as: str | None = None
    """The name of the folder that its artifact, a tar then, is unpacked to."""
    options: Options = Options()
    limits: Limits = Limits()
    allow_programs: bool = False
    architecture_prefixes: tuple[str, ...] | None = None

    def sign(self, report: Report) -> None:
        """Write the ids of the job and of its request into its report, as the log has them."""
        report.job_id, report.request_id = self.id, self.request_id
        report.trace_id = self.trace_id


@dataclass(frozen=True)
class JobFiles:
    """The files of a job on the service's side.

    Only the implementation of `Workers` reads and writes them: it may move them to a process on
    this machine, or send and receive their bytes.

    Attributes:
        source: The checkpoint. It stays where it is and is not changed, even if the service or the
            worker is killed, and several jobs may read it at once. It lies outside of `folder`, on
            the same file system, where it need not be copied. Its mode becomes 0400.
        folder: The folder that gets the artifact, `report.json` and `report.html`. The worker has
            it while the job runs, and can change everything in it.
    """

    source: Path
    folder: Path


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
    input_tensors_sha256: Sha256 | None = None
    """The root of the digests of its tensors, if it was asked for."""
    artifact_tensors_sha256: Sha256 | None = None
    environment: Environment | None = None
    reports: list[Made] = Field(default_factory=list, max_length=2)
    seconds: dict[str, Seconds] = Field(default_factory=dict)
    """Wall time of each of `STAGES`."""


class LaneHealth(BaseModel):
    """The health of a lane: a device on which one job runs at a time.

    Attributes:
        device: The name of the device, such as `cuda:1`.
        gpu: The name of the GPU, if it is one.
        ready: Whether it takes jobs, or runs one.
        busy: Whether a job is running.
        jobs: How many jobs it has run.
        problem: What is wrong, if something is.
        failures: How often the device was found not to work.
        worker_starts: How many workers were started.
        worker_ends: How many workers have ended, by cause.
    """

    device: str
    gpu: str | None = None
    ready: bool
    busy: bool
    jobs: int = 0
    problem: str | None = None
    failures: int = 0
    worker_starts: int = 0
    worker_ends: dict[WorkerEnd, int] = Field(default_factory=dict)


class Health(BaseModel):
    """The health of the workers.

    Attributes:
        ready: Whether a job that comes now would be run.
        busy: Whether a job is running.
        since_probe_s: Seconds since the last probe that a device answered.
        facts: Versions, device and memory, as a worker of the first ready lane reported them.
        walls: The walls of this worker's sandbox, and whether each is in place.
        problem: What is wrong, if no lane is ready.
        lanes: Each lane.
        waiting: How many jobs wait for a lane.
        known_trouble: What workers have reported as slow, broken or unused on any device.
    """

    ready: bool
    busy: bool
    since_probe_s: float | None = None
    facts: dict[str, Any] = Field(default_factory=dict)
    walls: list[Wall] = Field(default_factory=list)
    problem: str | None = None
    lanes: list[LaneHealth] = Field(default_factory=list)
    waiting: int = 0
    known_trouble: list[str] = Field(default_factory=list)


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
    """Anonymous memory that a worker may use, beside an allowance for its job's file."""
    max_file_bytes: int
    """The largest file that it can write."""
    cpu_threads: int | None = None
    """Threads that it computes with on the CPU; by default as many as there are cores."""
    is_required: bool = False
    """Whether a worker gets no job if a wall of its sandbox is missing."""


class Listener(Protocol):
    """Hears how far a job is."""

    def waits(self, place: int) -> None:
        """Hear the place of the job in the queue; 1 is next."""

    async def begins(self, device: str) -> None:
        """Hear that a worker has the job, which begins when this returns.

        Raises:
            ConvlastError: If it must not begin.
        """

    def goes_on(self, stage: str, done: int, total: int) -> None:
        """Hear the progress, as `convlast.progress` tells it."""


class Workers(Protocol):
    """Runs jobs, one at a time on each device."""

    async def start(self) -> None:
        """Start to prepare the first worker, and return at once."""

    async def stop(self) -> None:
        """End the idle workers; a running job ends with the task that waits for it."""

    async def run(self, job: Job, files: JobFiles, listener: Listener, *, share: str) -> Finished:
        """Run a job when its turn comes; cancelling this stops the job.

        Args:
            job: What to do. This may be sent to another machine.
            files: The checkpoint, and the folder for the results. Afterwards, whatever happened,
                both are where they were, and the checkpoint is as it was.
            listener: Hears how far it is.
            share: The client that the job counts for; the clients that wait take turns.

        Returns:
            The worker's answer, with the seconds of `queue` and `convert` before those of `STAGES`.

        Raises:
            ConvlastError: If the job ended without an answer.
            ProblemError: If the job was refused.
        """

    async def kind(self) -> str:
        """Wait until a device is known, and return its kind, which decides results: GPU or `cpu`.

        Raises:
            NotReadyError: If no device works.
        """

    def health(self) -> Health:
        """Return the health of the workers, without waiting."""
