"""The benchmark of clients that wait, with fewer of them."""

from __future__ import annotations

import asyncio
from pathlib import Path

from benchmarks.jobs.followers import follow, settings_for
from tests.service.running import start


def test_all_who_wait_are_told_of_the_end(tmp_path: Path) -> None:
    """By event streams and long polls, all open at once."""
    service = start(tmp_path, **settings_for(60))
    try:
        service.wait_until_ready()
        found = asyncio.run(follow(service, 60, 3))
    finally:
        service.stop()
    assert found["told"] == {"succeeded": 60}
    assert found["open_at_once"] == 60
    assert found["resident_mib"]["peak"] < 150
