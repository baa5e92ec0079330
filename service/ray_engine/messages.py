"""What a replica and a slot tell each other. It crosses as JSON, so neither unpickles anything."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from convlast.stores.address import Address
from service.problems import Problem
from service.workers import Finished, Health, Job
from service.workers.messages import Stage


class Order(BaseModel):
    """What to run, and where its files are.

    Attributes:
        job: The job.
        share: The client that it counts for.
        folder: The address of the folder in the store that holds its files.
    """

    job: Job
    share: str
    folder: str

    @property
    def id(self) -> str:
        """The id of this run; each attempt at a job is another."""
        return self.folder.split("/")[-2]

    @property
    def source(self) -> Address:
        """The address of the checkpoint."""
        return Address.parse(f"{self.folder}source")

    def result(self, number: int) -> Address:
        """Return the address of one of the results."""
        return Address.parse(f"{self.folder}result-{number}")


class Ended(BaseModel):
    """The end of a run: an answer, whose files are in the store, or a problem.

    Attributes:
        finished: The answer.
        small: The contents of those of its files that are small and therefore not in the store.
        problem: Why there is no answer.
    """

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    finished: Finished | None = None
    small: dict[str, bytes] = Field(default_factory=dict)
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

    model_config = Ended.model_config

    number: int = 0
    place: int | None = None
    device: str | None = None
    stages: list[Stage] = Field(default_factory=list)
    ended: Ended | None = None


class SlotHealth(Health):
    """The health of the workers of a slot.

    Attributes:
        version: The version of the service there.
    """

    version: str = ""
