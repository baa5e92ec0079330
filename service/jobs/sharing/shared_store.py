"""The store that services share, and where what is in it."""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel

from convlast.stores.address import Address
from convlast.stores.opening import StoreOptions
from convlast.stores.reading import fetch
from convlast.stores.refusals import translated
from service.jobs.journal import Journal, Recorded
from service.jobs.records import Accepted, Outcome
from service.jobs.standing import Standing
from service.storage.bucket import Bucket
from service.storage.discretion import as_own_store

GONE = "gone.json"
"""The object that says why a job is gone."""

REQUEST = "request.json"

_AREAS = ("jobs", "pending", "cancels", "owners", "services", "moving")
_INPUT, _STANDING = "input", "standing.json"
_BRIEF_S = 5.0
_RUN = re.compile(r"run-([0-9]{1,9})/(.*)")


class Gone(BaseModel):
    """Why a job is gone."""

    owner: str
    why: str
    at: float
    """Since when, in seconds since 1970."""


@dataclass(frozen=True)
class Run:
    """The latest job with an id.

    Attributes:
        name: What it is stored below.
        number: How many there were before.
        keys: What was stored of it.
        recorded: The job, if it is complete.
        gone: Why it is gone, if it is.
    """

    name: str
    number: int
    keys: tuple[str, ...] = ()
    recorded: Recorded | None = None
    gone: Gone | None = None

    @property
    def is_complete(self) -> bool:
        """Whether it was written down, and not only begun to be."""
        return self.recorded is not None or self.gone is not None


class Indexed(NamedTuple):
    """A job in the list of its owner's.

    Attributes:
        created_at: When it came, in seconds since 1970.
        sha256: The digest of its checkpoint.
        id: Its id.
    """

    created_at: float
    sha256: str
    id: str


@dataclass
class SharedStore:
    """The store. The methods wait for it: call them in a thread.

    Each of them raises StoreError if the store does not do what it is asked for.

    Attributes:
        address: Where it is.
        options: How it is asked.
        service: Names this service among those that share it.
    """

    address: Address
    options: StoreOptions = field(default_factory=StoreOptions)
    service: str = field(default_factory=lambda: secrets.token_hex(8))

    def __post_init__(self) -> None:
        self.jobs, self.pending, self.cancels, self.owners = (
            Bucket(self.address.child(area), self.options)
            for area in ("jobs", "pending", "cancels", "owners")
        )
        # For what is asked again soon in any case.
        brief = replace(self.options, patience_s=min(self.options.patience_s, _BRIEF_S))
        self.services, self._pending_briefly = (
            Bucket(self.address.child(area), brief) for area in ("services", "pending")
        )
        self.journal = Journal(self.jobs, self.service)

    def open(self) -> None:
        """Begin to use it."""
        if self.address.scheme == "file":
            # The library makes folders that everybody can read.
            with translated(self.address):
                for folder in (self.address, *map(self.address.child, _AREAS)):
                    Path("/", folder.path).mkdir(mode=0o700, parents=True, exist_ok=True)
        self.announce()

    def announce(self) -> None:
        """Give a sign of life."""
        self.services.write(self.service, str(time.time()))

    def leave(self) -> None:
        """Give no sign of life any more: others take over what is left."""
        self.services.remove(self.service)

    def break_off(self) -> None:
        """Ask for nothing any more, apart from signs of life: what threads wait for fails."""
        for each in (self.jobs, self.pending, self._pending_briefly, self.cancels, self.owners):
            each.break_off()

    def check(self) -> str:
        """Check whether the store can be used, and say so."""
        self.open()
        self.leave()
        return f"{self.address} can be written."

    def latest(self, job_id: str) -> Run | None:
        """Return the latest job with an id, if there was any: a complete one, if there is one."""
        sizes = self.jobs.sizes(job_id)
        found = None
        for number, own in sorted(split_runs(sizes).items() if sizes else (), reverse=True):
            run = self.run(job_id, number, own)
            if run.is_complete:
                return run
            found = found or run
        return found

    def run(self, job_id: str, number: int, sizes: dict[str, int]) -> Run:
        """Read one of the jobs with an id.

        Args:
            job_id: The id.
            number: How many there were before.
            sizes: The sizes of its objects.
        """
        name = name_of(job_id, number)
        if GONE in sizes and (text := self.jobs.read(f"{name}/{GONE}")) is not None:
            return Run(name, number, tuple(sizes), gone=Gone.model_validate_json(text))
        return Run(name, number, tuple(sizes), recorded=self.journal.read(name, sizes))

    def accept(self, accepted: Accepted, checkpoint: Path | None) -> bool:
        """Write a job down, and return whether nobody else has: this service has to finish it."""
        name = accepted.name
        self.pending.create(_pending_key(self.service, name), "")
        if checkpoint is not None:
            self.jobs.put(f"{name}/{_INPUT}", checkpoint)
        self.index(accepted)
        if self.journal.accept(accepted):
            return True
        self.let_go(name)
        return False

    async def bring(self, name: str, path: Path) -> None:
        """Write the checkpoint of a job to a new file.

        Raises:
            StoreError: If it is not there, or cannot be read.
        """
        with as_own_store():
            await fetch(self.jobs.at(f"{name}/{_INPUT}"), path, self.options)

    def ended(self, accepted: Accepted) -> None:
        """Note that a job has an outcome."""
        self.index(accepted)  # one that was not written down before is not in the list yet
        self.let_go(accepted.name)
        self.cancels.remove(_flat(accepted.name))

    def discard(self, run: Run) -> None:
        """Remove what is left of a job that is gone, or was never written down, as it was seen."""
        for key in sorted(run.keys, key=GONE.__eq__):  # last, why it is gone
            if run.gone is not None or key != REQUEST:
                self.jobs.remove(f"{run.name}/{key}")

    def pending_jobs(self) -> list[tuple[str, str]]:
        """Return the services that have to finish jobs, each with the name of the job."""
        keys = [each.name.partition("/") for each in self._pending_briefly.listed("")]
        return [(service, flat.replace("+", "/")) for service, _, flat in keys]

    def cancelled_jobs(self) -> set[str]:
        """Return the names of the jobs that are to be stopped."""
        return {each.name.replace("+", "/") for each in self.cancels.listed("")}

    def signs(self) -> dict[str, str]:
        """Return the sign of life of each service."""
        return {each.name: each.version for each in self.services.listed("")}

    def cancel(self, name: str) -> None:
        """Note that a job is to be stopped."""
        self.cancels.create(_flat(name), "")

    def let_go(self, name: str) -> None:
        """Note that this service has not to finish a job any more."""
        self.pending.remove(_pending_key(self.service, name))

    def hand_over(self, name: str) -> None:
        """Let another service finish a job that this one has stopped."""
        # No service of this name gives signs of life.
        self._pending_briefly.create(_pending_key(secrets.token_hex(8), name), "")
        self._pending_briefly.remove(_pending_key(self.service, name))

    def take_over(self, name: str, before: str) -> bool:
        """Finish a job of a service that is gone, and return whether no other service does."""
        is_new = self.pending.create(_pending_key(self.service, name), "")
        # It may have left the job before, and will need an heir again.
        self.jobs.remove(f"{name}/heir-{self.service}")
        is_heir = self.jobs.create(f"{name}/heir-{before}", self.service)
        if not is_heir and is_new:  # otherwise it has the job, whoever had it before
            self.let_go(name)
        self.pending.remove(_pending_key(before, name))
        return is_heir

    def tell(self, name: str, standing: Standing) -> None:
        """Write how far a job is."""
        self.jobs.write(f"{name}/{_STANDING}", standing.model_dump_json())

    def hear(self, name: str) -> Outcome | Standing | None:
        """Read how a job has ended, or how far it is."""
        if (outcome := self.journal.outcome(name)) is not None:
            return outcome
        told = self.jobs.read(f"{name}/{_STANDING}")
        return Standing.model_validate_json(told) if told is not None else None

    def index(self, accepted: Accepted) -> None:
        """Put a job into the list of its owner's."""
        self.owners.create(row_of(accepted), "")

    def of(self, owner: str) -> list[Indexed]:
        """Return the jobs of an owner, the latest first."""
        found = []
        for key in self.owners.sizes(_owner_key(owner)):
            created_at, sha256, job_id = key.split("-")
            found.append(Indexed(float(created_at), sha256, job_id))
        return sorted(found, reverse=True)

    def rows(self) -> list[str]:
        """Return the rows of all owners' lists, see `row_of`."""
        return [each.name for each in self.owners.listed("")]

    def remove(self, accepted: Accepted, gone: Gone | None) -> None:
        """Remove a job, and remember why."""
        name = accepted.name
        if gone is not None:
            self.jobs.write(f"{name}/{GONE}", gone.model_dump_json())
        self.owners.remove(row_of(accepted))
        self.cancels.remove(_flat(name))
        for key in split_runs(self.jobs.sizes(name))[0]:
            if gone is None or key != GONE:
                self.jobs.remove(f"{name}/{key}")


def name_of(job_id: str, number: int) -> str:
    """Return what a job is stored below, of which there were so many before with its id.

    >>> name_of("ab", 0), name_of("ab", 2)
    ('ab', 'ab/run-2')
    """
    return f"{job_id}/run-{number}" if number else job_id


def _flat(name: str) -> str:
    """Return the name of a job as one part of a key."""
    return name.replace("/", "+")


def _pending_key(service: str, name: str) -> str:
    return f"{service}/{_flat(name)}"


def split_runs(sizes: dict[str, int]) -> dict[int, dict[str, int]]:
    """Split what is stored of an id by its runs.

    >>> split_runs({"request.json": 5, "run-2/request.json": 6})
    {0: {'request.json': 5}, 2: {'request.json': 6}}
    """
    runs: dict[int, dict[str, int]] = {0: {}}
    for key, size_bytes in sizes.items():
        found = _RUN.fullmatch(key)
        number, rest = (int(found[1]), found[2]) if found else (0, key)
        runs.setdefault(number, {})[rest] = size_bytes
    return runs


def _owner_key(owner: str) -> str:
    """Return what the list of an owner is called, which does not tell who that is."""
    return hashlib.sha256(owner.encode()).hexdigest()[:32]


def row_of(accepted: Accepted) -> str:
    """Return the key of a job in the list of its owner's; it ends with the id of the job."""
    moment = f"{accepted.created_at:020.6f}"
    return f"{_owner_key(accepted.owner)}/{moment}-{accepted.sha256}-{accepted.id}"
