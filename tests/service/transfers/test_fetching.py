"""Looking for a checkpoint in a store, while its client waits."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from convlast.errors import StoreUnavailableError
from convlast.stores.opening import StoreOptions
from service.settings import Settings
from service.transfers import fetching
from service.transfers.fetching import Fetching
from tests.service.jobs.boards import in_loop


class Endless(httpx.AsyncBaseTransport):
    """A server whose answer is always on its way."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Never have read all of it."""
        await asyncio.Event().wait()
        raise AssertionError


@in_loop
async def test_a_look_at_a_source_has_a_time_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However slowly a server answers, the client is told that its store is away."""
    monkeypatch.setattr(fetching, "LOOK_S", 0.05)
    settings = Settings(work_dir=tmp_path, sources=("https://slow.example/",))
    looking = Fetching(settings, lambda: StoreOptions(timeout_s=0.05, http=Endless()))
    with pytest.raises(StoreUnavailableError, match=r"slow\.example/m\.pt does not answer") as told:
        await looking.look("https://slow.example/m.pt")
    assert told.value.reason == "away"
