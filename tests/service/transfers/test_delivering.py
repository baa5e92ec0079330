"""Results of several services that go to the same names."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from convlast.progress import silent
from convlast.stores import writing
from convlast.stores.address import Address
from convlast.stores.opening import StoreOptions
from service.settings import Settings
from service.transfers.delivering import Delivering
from tests.service.jobs.boards import in_loop

NAMES = ("m.report.json", "m.report.html", "m.pt.sha256", "m.pt")
Put = Callable[[Path, Address], Awaitable[None]]


class Results:
    """A folder of results, and services that deliver to it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.target = folder / "target"

    def delivery(self, service: str) -> Awaitable[None]:
        """Return the delivery of a service, whose files all have its name in them."""
        made = self._folder / service
        made.mkdir()
        for name in NAMES:
            (made / name).write_text(f"{name} of {service}")
        target = f"file://{self.target}/"
        settings = Settings(work_dir=self._folder, targets=(target,))
        files = {name: made / name for name in NAMES}
        return Delivering(settings, StoreOptions).deliver(files, target, silent, share="alice")

    def services(self) -> set[str]:
        """Return whose files are there."""
        there = {path.name: path.read_text() for path in self.target.iterdir()}
        assert there.keys() == set(NAMES)
        return {text.rpartition(" ")[2] for text in there.values()}


@pytest.fixture
def results(tmp_path: Path) -> Results:
    """Make an empty target."""
    return Results(tmp_path)


def through(monkeypatch: pytest.MonkeyPatch, pass_by: Put) -> None:
    """Let each file wait before it is sent."""
    put = writing.put

    async def held(path: Path, address: Address, *more: Any, **others: Any) -> None:
        await pass_by(path, address)
        await put(path, address, *more, **others)

    monkeypatch.setattr(writing, "put", held)


@pytest.mark.parametrize("place", range(1, len(NAMES)))
@in_loop
async def test_a_delivery_in_the_middle_of_another_is_replaced_whole(
    results: Results, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    """Whichever files the slower one had sent before: in the end all of them are its own."""
    reached, goes_on = asyncio.Event(), asyncio.Event()

    async def pass_by(path: Path, _: Address) -> None:
        if path.parent.name == "slow" and path.name == NAMES[place]:
            reached.set()
            await goes_on.wait()

    through(monkeypatch, pass_by)
    slow = asyncio.ensure_future(results.delivery("slow"))
    await reached.wait()
    await results.delivery("quick")
    assert results.services() == {"quick"}
    goes_on.set()
    await slow
    assert results.services() == {"slow"}


@pytest.mark.parametrize("seed", range(5))
@in_loop
async def test_of_many_that_deliver_at_once_one_has_all_files(
    results: Results, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """They take turns as chance has it, and all of them end."""
    chance = random.Random(seed)  # noqa: S311  # no secret

    async def pass_by(*_: object) -> None:
        await asyncio.sleep(chance.uniform(0, 0.01))

    through(monkeypatch, pass_by)
    await asyncio.gather(*(results.delivery(f"service-{number}") for number in range(4)))
    assert len(results.services()) == 1


@in_loop
async def test_results_that_were_taken_away_are_not_sent_again(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipeline may move them as soon as the artifact is there."""
    sent: list[str] = []

    async def pass_by(path: Path, _: Address) -> None:
        sent.append(path.name)
        if path.name == NAMES[-1]:
            for name in NAMES[:-1]:
                (results.target / name).unlink()

    through(monkeypatch, pass_by)
    await results.delivery("one")
    assert sent == [*NAMES]
