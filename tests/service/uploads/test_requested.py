"""A request that waits for its job."""

from __future__ import annotations

import asyncio

import pytest
import uvloop
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from service.jobs.entry import JobEntry
from service.jobs.records import Accepted
from service.uploads.requested import _until_end


def waiting() -> JobEntry:
    """Return a job that never ends."""
    accepted = Accepted(
        id="0",
        owner="ada",
        share="ada",
        verb="convert",
        filename="m.pt",
        sha256="0",
        bytes=1,
        options={},
        created_at=0,
        version="0",
    )
    return JobEntry(accepted)


async def never() -> Message:
    """Be a client that stays connected."""
    await asyncio.Event().wait()
    raise AssertionError


async def gone() -> Message:
    """Be a client that has disconnected."""
    return {"type": "http.disconnect"}


def test_a_client_whose_time_is_up_is_still_there() -> None:
    """Timers of the event loop are early by a moment; that is no disconnection."""

    async def wait_often() -> None:
        request = Request({"type": "http"}, never)
        for _ in range(100):
            await _until_end(request, waiting(), 0.002)

    uvloop.run(wait_often())


def test_a_client_that_disconnects_is_told_from_one_whose_time_is_up() -> None:
    """Its request ends at once."""
    with pytest.raises(ClientDisconnect):
        asyncio.run(_until_end(Request({"type": "http"}, gone), waiting(), 30))
