"""Small requests are answered while large ones are written, hashed and read."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.app import create_app
from service.settings import Settings
from service.uploads import receiving
from tests.service.taken_over import HEADERS, Stage, staged

MANY = 20
LARGE = b"fine " + bytes(5 << 20)


class Gate:
    """Holds the threads that work on much, until it is opened."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.held = 0

    def holding(self, work: Callable[..., Any], size: Callable[..., int]) -> Callable[..., Any]:
        """Return the work, which waits at the gate if it is large."""

        def held(*arguments: Any) -> Any:
            if size(*arguments) > 1 << 19:
                self.held += 1
                assert self.opened.wait(60)
            return work(*arguments)

        return held


def pieces_bytes(_: object, pieces: list[bytes], *__: object) -> int:
    """Return the size of a batch."""
    return sum(map(len, pieces))


@pytest.fixture
def stage(tmp_path: Path) -> Any:
    """Run a service in this process, with place for many jobs."""
    with staged(tmp_path, queue_size=64, jobs_per_key=64) as stage:
        yield stage


@pytest.mark.parametrize("blocked", ["write", "hash"])
def test_a_small_inspection_does_not_wait_for_uploads(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, blocked: str
) -> None:
    """While twenty uploads hang in their writes or digests, an inspection is answered."""
    gate = Gate()
    work = getattr(receiving._Body, blocked)
    monkeypatch.setattr(receiving._Body, blocked, gate.holding(work, pieces_bytes))

    async def main(client: httpx.AsyncClient) -> None:
        await inspect_beside(client, gate, lambda: post(client, "/convert", LARGE))

    stage.play(main)


def test_a_small_inspection_does_not_wait_for_downloads(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While twenty downloads hang in their reads, an inspection is answered."""
    gate, pread = Gate(), os.pread

    async def main(client: httpx.AsyncClient) -> None:
        accept = {"Accept": "application/json"}
        stored = await post(client, "/convert", LARGE, **accept)
        link = stored.json()["links"]["artifact"]
        monkeypatch.setattr(os, "pread", gate.holding(pread, lambda _, length, __: int(length)))
        await inspect_beside(client, gate, lambda: client.get(link))

    stage.play(main)


async def inspect_beside(
    client: httpx.AsyncClient,
    gate: Gate,
    ask: Callable[[], Coroutine[None, None, httpx.Response]],
) -> None:
    """Ask for much that hangs at the gate, get an inspection meanwhile, and then all the rest."""
    large = [asyncio.ensure_future(ask()) for _ in range(MANY)]
    try:
        await until(lambda: gate.held >= 4)
        async with asyncio.timeout(60):
            assert (await post(client, "/inspect", b"fine")).status_code == 200
        assert not any(each.done() for each in large)
    finally:
        gate.opened.set()
    assert [answer.status_code for answer in await asyncio.gather(*large)] == [200] * MANY


async def post(
    client: httpx.AsyncClient, path: str, content: bytes, **headers: str
) -> httpx.Response:
    """Send a checkpoint."""
    return await client.post(path, content=pieces(content), headers={**HEADERS, **headers})


async def pieces(content: bytes) -> AsyncIterator[bytes]:
    """Yield a body in pieces, as a connection does."""
    for start in range(0, len(content), 1 << 18):
        yield content[start : start + (1 << 18)]


async def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition is true."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110  # a thread sets it
            await asyncio.sleep(0.01)


def test_places_grow_with_the_lanes(tmp_path: Path) -> None:
    """The setting for the queue counts the jobs that wait, beside those that run."""
    values = {"work_dir": tmp_path / "work", "device": "cpu", "queue_size": 5, "workers": 3}
    app = create_app(Settings.model_validate(values))
    assert app.state.context.job_admission.count == 8
    app.state.context.workspace.close()
