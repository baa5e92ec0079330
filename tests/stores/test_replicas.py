"""Services that share a bucket of each server."""

from __future__ import annotations

import asyncio
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
