"""Services that share a bucket of each server."""

from __future__ import annotations

import asyncio
import time
from asyncio import to_thread
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from convlast.stores.address import Address
from service.errors import GoneError
from service.jobs.listing import Wanted
from service.jobs.records import ARTIFACT
from service.jobs.sharing import fleet, watch
from service.jobs.sharing.shared_store import SharedStore
from tests.service.jobs.boards import (
    Board,
    FakeWorkers,
    artifact_of,
    content_of,
    end_of,
    ended,
    in_loop,
    opened,
)
from tests.service.running import Running, served, wait_for
from tests.stores.unreliable import Unreliable


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let services look and tell often."""
    monkeypatch.setattr(watch, "BEAT_S", 0.5)
    monkeypatch.setattr(fleet, "TELL_S", 0.2)


@asynccontextmanager
async def service(folder: Path, address: Address) -> AsyncIterator[Board]:
    """Start a service with this store."""
    others = fleet.Fleet(SharedStore(address), max_bytes=10**9, max_age_s=600)
    async with opened(folder, FakeWorkers(), others=others) as board:
        yield board


@in_loop
async def test_services_share_a_bucket(folder: Address, tmp_path: Path) -> None:
    """Any of them answers, cancels and removes; the jobs of one that ends go on at the other."""
    async with service(tmp_path / "b", folder) as other:
        async with service(tmp_path / "a", folder) as one:
            one.workers.is_prompt = True
            done = await ended(await one.submit(b"done", durable=True))
            found = await other.jobs.find(done.id, "alice")
            assert await to_thread(content_of, found, ARTIFACT) == artifact_of(b"done")
            await other.jobs.remove(found)
            with pytest.raises(GoneError):
                await one.jobs.find(done.id, "alice")
            one.workers.is_prompt = False
            stopped = await one.submit(b"stopped", durable=True)
            assert (await other.jobs.cancel(await other.jobs.find(stopped.id, "alice"))) == (
                "cancelled"
            )
            left = await one.submit(b"left", durable=True)
        run = await other.workers.next()
        assert (run.job.id, run.files.source.read_bytes()) == (left.id, b"left")
        run.succeed()
        found = await other.jobs.find(left.id, "alice")
        await end_of(found)
        page = await other.jobs.page(Wanted("alice", 200))
        assert {each.id for each in page.entries} >= {left.id, stopped.id}


@in_loop
async def test_one_of_many_services_has_a_job(folder: Address, tmp_path: Path) -> None:
    """They get the same request at once, and run it once."""
    async with (
        service(tmp_path / "a", folder) as one,
        service(tmp_path / "b", folder) as other,
        service(tmp_path / "c", folder) as third,
    ):
        boards = (one, other, third)
        for board in boards:
            board.workers.is_prompt = True
        entries = await asyncio.gather(*(board.submit(durable=True) for board in boards))
        for entry in entries:
            await end_of(entry)
        assert len({entry.id for entry in entries}) == 1
        assert sum(len(board.workers.runs) for board in boards) == 1


def submit(service: Running, content: bytes) -> str:
    """Send a checkpoint, and return the path of its job."""
    fields = {"Content-Type": "application/octet-stream", "Prefer": "respond-async"}
    with service.client() as client:
        answer = client.post("/convert?filename=m.pt", content=content, headers=fields)
    assert answer.status_code == 202, answer.text
    return str(answer.headers["location"])


def state_of(service: Running, job: str) -> str:
    """Return the state of a job."""
    with service.client() as client:
        return str(client.get(job).json()["state"])


@pytest.mark.parametrize("is_silent", [True, False])
def test_a_service_ends_in_time_though_its_store_is_away(
    remote: Address, network: Unreliable, tmp_path: Path, is_silent: bool
) -> None:
    """It says which jobs it leaves, and another service finishes them when the store is back."""
    store = remote.child("silent/" if is_silent else "away/").text
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    with served(tmp_path / "a", store=store, drain_timeout_s=2) as one:
        jobs = [submit(one, b"sleeps 1 "), submit(one, b"sleeps 1.1 ")]
        wait_for(lambda: state_of(one, jobs[0]) == "running")
        if is_silent:
            network.bytes_a_second = 1
        else:
            network.leave()
        began_s = time.monotonic()
        one.stop()
        assert time.monotonic() - began_s < 20
        left = next(line for line in one.log.read_text().splitlines() if "jobs are left" in line)
        assert all(job.rpartition("/")[2] in left for job in jobs)
    network.bytes_a_second = 0
    if not is_silent:
        network.come_back()
    with served(tmp_path / "b", store=store) as other:
        for job in jobs:
            wait_for(lambda job=job: state_of(other, job) == "succeeded")  # type: ignore[misc]
