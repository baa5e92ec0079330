"""A service that begins to take part."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.jobs.sharing.taking_part import others_of
from service.settings import Settings
from service.transfers.access import StoreAccess
from tests.service.jobs.boards import ended, in_loop, opened


@pytest.fixture
def _usual_umask() -> Iterator[None]:
    """Make files that everybody can read, as most systems do."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.parametrize("is_there", [True, False])
@pytest.mark.usefixtures("_usual_umask")
@in_loop
async def test_a_store_on_a_disk_is_for_its_user_alone(tmp_path: Path, is_there: bool) -> None:
    """Each file is in a folder that nobody else can enter, whoever has made that of the store."""
    store = tmp_path / "shared"
    if is_there:
        store.mkdir(mode=0o755)
    settings = Settings(work_dir=tmp_path, store=f"file://{store}")
    others = await asyncio.to_thread(others_of, settings, StoreAccess())
    async with opened(tmp_path / "work", others=others) as board:
        board.workers.is_prompt = True
        await ended(await board.submit(durable=True))
        files = [path for path in store.rglob("*") if path.is_file()]
        assert {path.relative_to(store).parts[0] for path in files} >= {"jobs", "owners"}
        for path in files:
            inner = path.relative_to(store).parents
            assert any((store / each).stat().st_mode & 0o077 == 0 for each in inner), path
