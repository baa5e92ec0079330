"""What is lent to slots, in a folder of this machine as the store."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from convlast.stores.opening import StoreOptions
from service.ray_engine import carrying
from service.ray_engine.carrying import Lending


def test_what_was_lent_is_removed(tmp_path: Path) -> None:
    """Nobody waits for it but the end of the service."""
    source = tmp_path / "m.pt"
    source.write_bytes(b"checkpoint")

    async def lend() -> None:
        lending = Lending(f"file://{tmp_path}/store", StoreOptions())
        async with lending.lent(source):
            assert len(lent(tmp_path)) == 1
        await lending.stop()

    asyncio.run(lend())
    assert lent(tmp_path) == []


def test_the_end_of_a_service_does_not_wait_for_a_store_that_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be removed in a moment stays, for the rules of the store."""

    async def hangs(folder: str, options: StoreOptions) -> None:
        await asyncio.sleep(3600)

    monkeypatch.setattr(carrying, "clear", hangs)
    monkeypatch.setattr(carrying, "STOP_S", 0.05)
    source = tmp_path / "m.pt"
    source.write_bytes(b"checkpoint")

    async def lend() -> None:
        lending = Lending(f"file://{tmp_path}/store", StoreOptions())
        async with lending.lent(source):
            pass
        await lending.stop()

    began_s = time.monotonic()
    asyncio.run(lend())
    assert time.monotonic() - began_s < 60
    assert len(lent(tmp_path)) == 1


def lent(folder: Path) -> list[Path]:
    """Return what is lent."""
    return [path for path in (folder / "store" / "moving").rglob("*") if path.is_file()]
