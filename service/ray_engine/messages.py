"""What a replica and a slot tell each other. It crosses as JSON, so neither unpickles anything."""

from __future__ import annotations

from pydantic import BaseModel, Field

from service.problems import Problem
from service.workers import Finished, Job
from service.workers.messages import Stage


class Order(BaseModel):
    """What to run, and where its files are.

    Attributes:
        id: The id of this run; each attempt at a job is another.
        job: The job.
        share: The client that it counts for.
        folder: The address of the folder in the store that holds its files.
    """

    id: str
    job: Job
    share: str
    folder: str

    @property
    def source(self) -> str:
        """The address of the checkpoint."""
        return f"{self.folder}source"

    def result(self, number: int) -> str:
        """Return the address of one of the results."""
        return f"{self.folder}result-{number}"


class Ended(BaseModel):
    """The end of a run: an answer, whose files are in the store, or a problem."""

    finished: Finished | None = None
    problem: Problem | None = None


class News(BaseModel):
    """What is new of a run.

    Attributes:
        number: The number of the last thing told here. Whoever asks for later ones has heard it.
        place: The place of the run in the queue of its slot, if it waits there.
        device: The device that has it, once it begins.
        stages: The stages since the last news, each as far as it is.
        ended: How it has ended, if it has.
    """

    number: int = 0
    place: int | None = None
    device: str | None = None
    stages: list[Stage] = Field(default_factory=list)
    ended: Ended | None = None


def names_of(finished: Finished) -> list[str]:
    """Return the names of the files of an answer, in the order in which they are carried.

    >>> names_of(Finished(verdict="passed", reports=[{"filename": "report.json"}]))
    ['report.json']
    """
    made = [finished.artifact] if finished.artifact else []
    return [each.filename for each in (*made, *finished.reports)]
