"""Reports the stages of a job as local work reports its own."""

from __future__ import annotations

from convlast.jobs import JobStatus
from convlast.progress import Progress, Stages

_QUEUE, _END = "queue", "end"


class JobStages:
    """Reports the stages of a job; each that begins ends at its total, unless the job fails."""

    def __init__(self, progress: Progress) -> None:
        self._stages = Stages(progress)
        self._stage = ""
        self._places = 0

    def tell(self, status: JobStatus) -> None:
        """Report how far a job is."""
        if status.state in {"failed", "cancelled"}:
            return
        stage, done, total = self._of(status)
        if status.is_finished or stage == _END:
            self._stages.end()
            return
        if stage != self._stage:
            self._stages.end()
        if (
            stage != self._stage and done >= total
        ):  # too short to be seen before its end, or of unknown length
            self._stages(stage, 0, total or 1)
        self._stage = stage
        if total:
            self._stages(stage, min(done, total), total)

    def _of(self, status: JobStatus) -> tuple[str, int, int]:
        """Return the stage, how much of it is done, and its total; a queue is counted in places."""
        told = status.progress
        if status.place is None:
            return told.stage, told.done, told.total
        self._places = max(self._places, status.place)
        return _QUEUE, self._places - status.place, self._places
