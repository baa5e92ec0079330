"""Several services with one store: any of them answers any job, and finishes those of others."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
import time
from asyncio import to_thread
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from convlast.errors import StoreUnavailableError
from convlast.provenance.envelope import Envelope
from convlast.provenance.signing import read_public_key
from convlast.stores.address import Address
from service.errors import GoneError, NotFoundError
from service.jobs import board as board_module
from service.jobs import listing
from service.jobs.description import json_of
from service.jobs.entry import JobEntry
from service.jobs.journal import Journal
from service.jobs.listing import Wanted
from service.jobs.records import ARTIFACT, PROVENANCE_DSSE, Accepted, Outcome
from service.jobs.running import attempts
from service.jobs.sharing import fleet, following, inheriting, watch
from service.jobs.sharing.shared_store import GONE, Gone, SharedStore, row_of
from service.jobs.sharing.sweeping import Sweeping
from service.storage import bucket
from service.storage.bucket import Bucket
from service.storage.workspace import JobFolder, Workspace
from service.threads import CARRYING, SIGNALLING, STORING
from tests.convlast.provenance.keys import write_keys
from tests.service.jobs.boards import (
    Board,
    artifact_of,
    code_of,
    content_of,
    end_of,
    ended,
    in_loop,
    opened,
)

CONTENT = b"checkpoint"


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let services look and tell often, and be gone soon."""
    monkeypatch.setattr(watch, "BEAT_S", 0.05)
    monkeypatch.setattr(fleet, "TELL_S", 0.05)
    monkeypatch.setattr(fleet, "LOOK_S", 0.02)
    monkeypatch.setattr(following, "LOOK_S", 0.02)
    monkeypatch.setattr(watch, "SILENCE_S", 0.4)


class Dead:
    """A service that has left jobs in the store, and gives no sign of life."""

    def __init__(self, folder: Path, store: SharedStore) -> None:
        self._folder, self.store = folder, store

    def accepted(self, content: bytes) -> Accepted:
        """Return a job with this checkpoint."""
        sha256 = hashlib.sha256(content).hexdigest()
        return Accepted.model_validate(
            {
                "id": hashlib.sha256(sha256.encode()).hexdigest(),
                **dict.fromkeys(("owner", "share"), "alice"),
                "verb": "convert",
                "filename": "m.pt",
                "options": {},
                "version": "0",
                "sha256": sha256,
                "bytes": len(content),
                "created_at": time.time(),
            }
        )

    async def accept(self, content: bytes) -> Accepted:
        """Write a job down."""
        accepted = self.accepted(content)
        path = self._folder / accepted.id
        path.write_bytes(content)
        assert await to_thread(self.store.accept, accepted, path)
        return accepted


class Services:
    """Services that share a store in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = Address.parse(f"file://{folder}/shared/")

    @asynccontextmanager
    async def one(self, name: str, **settings: Any) -> AsyncIterator[Board]:
        """Start one of them."""
        others = fleet.Fleet(SharedStore(self.address), max_bytes=10**6, max_age_s=60)
        async with opened(self.folder / name, others=others, **settings) as board:
            yield board

    def dead(self) -> Dead:
        """Return a service that is gone without a word."""
        return Dead(self.folder, SharedStore(self.address))

    def store_of(self, board: Board) -> SharedStore:
        """Return the store as a service sees it."""
        others = board.others
        assert isinstance(others, fleet.Fleet)
        return others.store

    def left(self) -> set[str]:
        """Return all that is in the store."""
        root = self.folder / "shared"
        return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def services(tmp_path: Path) -> Services:
    """Make a store for several services."""
    return Services(tmp_path)


async def until(is_so: Callable[[], bool]) -> None:
    """Wait until something is so."""
    while not is_so():  # noqa: ASYNC110  # polled: what is waited for is in another service
        await asyncio.sleep(0.01)


def hang(board: Board) -> None:
    """Let a service give no sign of life any more, though its job goes on."""
    assert isinstance(board.others, fleet.Fleet)
    for task in board.others._tasks:
        task.cancel()


async def keep(store: SharedStore, accepted: Accepted, outcome: Outcome) -> Outcome:
    """Write an outcome as another service would, and return the one that stays."""
    return await to_thread(store.journal.keep, accepted, outcome, None, flushed=True)


async def listed(board: Board, owner: str = "alice") -> list[JobEntry]:
    """Return the jobs of an owner."""
    return (await board.jobs.page(Wanted(owner, 200))).entries


async def in_both(one: Board, other: Board, entry: JobEntry) -> tuple[JobEntry, JobEntry]:
    """Return a job as both services find it."""
    return await one.jobs.find(entry.id, "alice"), await other.jobs.find(entry.id, "alice")


@in_loop
async def test_any_service_answers_a_finished_job(services: Services) -> None:
    """Its state, its files and its place in the list are those that the other service tells."""
    async with services.one("a") as one, services.one("b") as other:
        one.workers.is_prompt = True
        entry = await ended(await one.submit(durable=True))
        for found in await in_both(one, other, entry):
            assert json_of(found, base="", max_age_s=1) == json_of(entry, base="", max_age_s=1)
            assert await to_thread(content_of, found, ARTIFACT) == artifact_of(CONTENT)
        for board in (one, other):
            assert [each.id for each in await listed(board)] == [entry.id]
            assert await listed(board, "bob") == []
            with pytest.raises(NotFoundError):
                await board.jobs.find(entry.id, "bob")
        assert not [key for key in services.left() if key.startswith("pending")]


@in_loop
async def test_an_end_that_others_tell_is_told_where_it_was_written(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that asks one service after the other never sees a job go back to running."""
    stays = asyncio.Event()

    async def keeps(*_: object) -> bool:
        await stays.wait()
        return True

    async with services.one("a") as one, services.one("b") as other:
        with monkeypatch.context() as slow:
            slow.setattr(fleet.Fleet, "keeps", keeps)
            entry = await one.submit(durable=True)
            run = await one.workers.next()
            await run.begin()
            run.succeed()
            await end_of(await other.jobs.find(entry.id, "alice"))
            assert entry.outcome is None
            found = await one.jobs.find(entry.id, "alice")
            state = found.state
            stays.set()
            await end_of(entry)
            assert state == "succeeded"
            assert await to_thread(content_of, found, ARTIFACT) == artifact_of(CONTENT)


@in_loop
async def test_a_job_that_ends_is_found_while_its_store_is_away(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asks is told what this service knows, after a moment."""
    stays = asyncio.Event()

    async def hangs(*_: object) -> None:
        await stays.wait()

    monkeypatch.setattr(board_module, "WRITTEN_S", 0.01)
    async with services.one("a") as one:
        entry = await one.submit(durable=True)
        run = await one.workers.next()
        await run.begin()
        with monkeypatch.context() as away:
            away.setattr(fleet.Fleet, "find", hangs)
            away.setattr(entry, "is_ending", True)
            assert await one.jobs.find(entry.id, "alice") is entry
        run.succeed()
        await end_of(entry)


@in_loop
async def test_any_service_tells_how_far_a_job_is(services: Services) -> None:
    """Whoever follows it at another service hears of its place, its stages and its end."""
    async with services.one("a") as one, services.one("b") as other:
        entry = await one.submit(durable=True)
        found = await other.jobs.find(entry.id, "alice")
        assert (found.state, found.is_elsewhere) == ("queued", True)
        run = await one.workers.next()
        await run.begin()
        await found.until(lambda: found.state == "running")
        run.listener.goes_on("write", 3, 10)
        await found.until(lambda: found.standing.stage == "write")
        assert (found.standing.done, found.standing.total, found.attempts) == (3, 10, 1)
        run.succeed()
        await end_of(found)
        assert found.state == "succeeded"
        assert found.seq >= entry.seq


@in_loop
async def test_the_same_request_at_another_service_has_the_same_job(services: Services) -> None:
    """It is run once, and both requests get its end."""
    async with services.one("a") as one, services.one("b") as other:
        entry = await one.submit(durable=True)
        joined = await other.submit(durable=True)
        assert joined.id == entry.id
        (await one.workers.next()).succeed()
        await ended(entry)
        await end_of(joined)
        assert (joined.state, len(other.workers.runs)) == ("succeeded", 0)
        again = await other.submit(durable=True)
        assert (again.state, len(other.workers.runs)) == ("succeeded", 0)


@in_loop
async def test_a_service_with_another_key_goes_on_with_a_job(
    services: Services, tmp_path: Path
) -> None:
    """It signs with its own key, and nothing is refused."""
    kinds = ("ed25519", "p-256")
    first, second = [write_keys(tmp_path, kind) for kind in kinds]
    async with services.one("b", signing_key_file=second.private) as other:
        async with services.one("a", signing_key_file=first.private) as one:
            entry = await one.submit(durable=True)
            await one.workers.next()
        (await other.workers.next()).succeed()
        found = await other.jobs.find(entry.id, "alice")
        await end_of(found)
        signed = Envelope.of(json.loads(await to_thread(content_of, found, PROVENANCE_DSSE)))
        assert read_public_key(second.public).has_signed(signed)
        assert (await other.submit()).id != entry.id


@in_loop
async def test_of_services_that_get_a_request_at_once_one_has_the_job(services: Services) -> None:
    """The other one follows it."""
    async with services.one("a") as one, services.one("b") as other:
        one.workers.is_prompt = other.workers.is_prompt = True
        entries = await asyncio.gather(*(board.submit(durable=True) for board in (one, other)))
        for entry in entries:
            await end_of(entry)
        assert [entry.state for entry in entries] == ["succeeded"] * 2
        assert len(one.workers.runs) + len(other.workers.runs) == 1


@in_loop
async def test_a_job_is_cancelled_at_any_service(services: Services) -> None:
    """The process of the service that has it is gone when the other one answers."""
    async with services.one("a") as one, services.one("b") as other:
        entry = await one.submit(durable=True)
        run = await one.workers.next()
        await run.begin()
        found = await other.jobs.find(entry.id, "alice")
        assert await other.jobs.cancel(found) == "cancelled"
        assert run.is_gone
        await ended(entry)
        assert (await one.jobs.find(entry.id, "alice")).state == "cancelled"
        again = await other.submit(durable=True)
        assert again.state == "queued", "the same request runs it anew"
        assert again.accepted.run == 1


@in_loop
async def test_a_removed_job_is_gone_at_any_service(services: Services) -> None:
    """Both say why, and all of it is gone but that."""
    async with services.one("a") as one, services.one("b") as other:
        one.workers.is_prompt = True
        entry = await ended(await one.submit(durable=True))
        await other.jobs.remove(await other.jobs.find(entry.id, "alice"))
        for board in (one, other):
            with pytest.raises(GoneError, match="removed"):
                await board.jobs.find(entry.id, "alice")
        assert {key for key in services.left() if not key.startswith("services")} == {
            f"jobs/{entry.id}/gone.json"
        }
        again = await ended(await one.submit(durable=True))
        assert (again.state, again.accepted.run) == ("succeeded", 1)
        assert (await other.jobs.find(entry.id, "alice")).state == "succeeded"


@in_loop
async def test_jobs_of_a_service_that_drains_go_on_elsewhere(services: Services) -> None:
    """One that waits is taken over at once, one that runs when the service ends."""
    async with services.one("b") as other:
        async with services.one("a") as one:
            running = await one.submit(b"first", durable=True)
            await (await one.workers.next()).begin()
            waiting = await one.submit(b"second", durable=True)
            await one.jobs.suspend_waiting()
            run = await other.workers.next()
            assert run.job.id == waiting.id
            assert run.files.source.read_bytes() == b"second"
        assert (await other.workers.next()).job.id == running.id
        for each in other.workers.runs:
            each.succeed()
        for entry, content in ((running, b"first"), (waiting, b"second")):
            found = await other.jobs.find(entry.id, "alice")
            await end_of(found)
            assert found.state == "succeeded"
            found = await other.jobs.find(entry.id, "alice")
            assert await to_thread(content_of, found, ARTIFACT) == artifact_of(content)


@in_loop
async def test_a_list_goes_on_after_a_place(services: Services) -> None:
    """It is read from the store from there on, and has each job once."""
    async with services.one("a") as one, services.one("b") as other:
        one.workers.is_prompt = True
        names = [f"{number}.pt" for number in range(5)]
        for name in names:
            await ended(await one.submit(durable=True, filename=name))
        pages, after = [], ""
        while True:
            page = await other.jobs.page(Wanted("alice", 2, after))
            pages.append([entry.accepted.filename for entry in page.entries])
            if page.end is None:
                break
            after = page.end
        assert pages == [names[:2:-1], names[2:0:-1], names[:1]]


@in_loop
async def test_jobs_in_a_state_are_found_however_many_others_came_later(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page looks at a bounded number of jobs, and where it ends, the next one goes on."""
    monkeypatch.setattr(listing, "MOST_READ", 3)
    async with services.one("a") as one, services.one("b") as other:
        waiting = await one.submit(durable=True, filename="waiting.pt")
        await one.workers.next()
        one.workers.is_prompt = True
        for number in range(5):
            await ended(await one.submit(durable=True, filename=f"{number}.pt"))
        latest = other.jobs._others.latest
        read: list[str] = []

        async def counted(job_id: str) -> JobEntry | None:
            read.append(job_id)
            return await latest(job_id)

        monkeypatch.setattr(other.jobs._others, "latest", counted)
        first = await other.jobs.page(Wanted("alice", 2, state="queued"))
        assert (first.entries, len(read)) == ([], 3)
        assert first.end is not None
        second = await other.jobs.page(Wanted("alice", 2, first.end, "queued"))
        assert [entry.id for entry in second.entries] == [waiting.id]
        assert (second.end, len(read)) == (None, 6)


@in_loop
async def test_a_job_that_was_run_anew_is_listed_once(services: Services) -> None:
    """At the place that it has now, also on the pages after it."""
    async with services.one("a") as one:
        cancelled = await one.submit(durable=True)
        await one.jobs.cancel(cancelled)
        one.workers.is_prompt = True
        again = await ended(await one.submit(durable=True))
        page = await one.jobs.page(Wanted("alice", 1))
        assert [entry.accepted for entry in page.entries] == [again.accepted]
        assert page.end is not None
        assert await one.jobs.page(Wanted("alice", 1, page.end)) == ([], None)


@in_loop
async def test_a_passing_job_that_is_stored_after_all_is_a_new_one(services: Services) -> None:
    """An earlier job with its id was cancelled, which stays so."""
    async with services.one("a") as one:
        cancelled = await one.submit(durable=True)
        await one.jobs.cancel(cancelled)
        passing = await one.submit()
        joined = await one.submit(kept=True)
        assert joined is passing
        for run in one.workers.live:
            run.succeed()
        await ended(passing)
        assert (passing.state, passing.accepted.run) == ("succeeded", 1)
        found = await one.jobs.find(passing.id, "alice")
        assert await to_thread(content_of, found, ARTIFACT) == artifact_of(CONTENT)


@in_loop
async def test_a_job_that_is_being_written_down_anew_is_still_found(services: Services) -> None:
    """Until the new one is there, its id leads to the one before."""
    async with services.one("a") as one:
        cancelled = await one.submit(durable=True)
        await one.jobs.cancel(cancelled)
        other = SharedStore(services.address)
        await to_thread(other.jobs.create, f"{cancelled.id}/run-1/input", "half")
        assert (await one.jobs.find(cancelled.id, "alice")).state == "cancelled"
        assert one.others
        assert await one.others.next_run(cancelled.id) == 1


# Services that are gone


@in_loop
async def test_jobs_of_a_service_that_is_gone_go_on_elsewhere(services: Services) -> None:
    """One that it had begun too, which is an attempt more."""
    dead = services.dead()
    waiting, begun = await dead.accept(b"waiting"), await dead.accept(b"begun")
    assert await to_thread(dead.store.journal.claim, begun.name, 1)
    async with services.one("a") as one:
        one.workers.is_prompt = True
        for accepted, attempts in ((waiting, 1), (begun, 2)):
            found = await one.jobs.find(accepted.id, "alice")
            await end_of(found)
            assert (found.state, found.attempts) == ("succeeded", attempts)
        await until(lambda: not [key for key in services.left() if key.startswith("pending")])


@in_loop
async def test_of_several_services_one_takes_a_job_over(services: Services) -> None:
    """However many see that another one is gone."""
    accepted = await services.dead().accept(b"checkpoint")
    async with services.one("a") as one, services.one("b") as other, services.one("c") as third:
        boards = (one, other, third)
        for board in boards:
            board.workers.is_prompt = True
        await end_of(await one.jobs.find(accepted.id, "alice"))
        assert sum(len(board.workers.runs) for board in boards) == 1


@in_loop
async def test_who_has_taken_a_job_over_keeps_it(services: Services) -> None:
    """Also if the record of the service before could not be removed, and is seen again."""
    dead = services.dead()
    accepted = await dead.accept(CONTENT)
    heir = SharedStore(services.address)
    assert await to_thread(heir.take_over, accepted.name, dead.store.service)
    await to_thread(heir.pending.create, f"{dead.store.service}/{accepted.name}", "")
    assert not await to_thread(heir.take_over, accepted.name, dead.store.service)
    assert await to_thread(heir.pending_jobs) == [(heir.service, accepted.name)]


@in_loop
async def test_who_has_found_a_job_that_is_not_taken_over_hears_of_its_end(
    services: Services,
) -> None:
    """Its checkpoint could not be had; later another service finishes it."""
    dead = services.dead()
    accepted = await dead.accept(CONTENT)
    async with services.one("a") as one:
        hang(one)
        recorded = await to_thread(dead.store.journal.read, accepted.name, {"request.json": 1})
        assert recorded is not None
        found: list[JobEntry] = []

        async def bring(path: Path) -> None:
            found.append(await one.jobs.find(accepted.id, "alice"))
            refuse()

        with pytest.raises(StoreUnavailableError):
            await one.jobs.adopt(recorded, bring)
        outcome = Outcome(state="failed", finished_at=time.time())
        await keep(dead.store, accepted, outcome)
        await end_of(found[0])
        assert found[0].state == "failed"


@in_loop
async def test_what_a_service_has_left_half_is_removed(services: Services) -> None:
    """A job that was never written down is none, and one that has ended is not run again."""
    dead = services.dead()
    half, done = dead.accepted(b"half"), await dead.accept(b"done")
    await to_thread(dead.store.pending.create, f"{dead.store.service}/{half.name}", "")
    await to_thread(dead.store.jobs.create, f"{half.name}/input", "ha")
    outcome = Outcome(state="failed", finished_at=time.time(), attempt=1)
    await keep(dead.store, done, outcome)
    async with services.one("a") as one:
        await until(lambda: not [key for key in services.left() if key.startswith("pending")])
        assert not [key for key in services.left() if half.id in key]
        assert (await one.jobs.find(done.id, "alice")).state == "failed"
        assert not one.workers.runs


@in_loop
async def test_jobs_are_taken_over_several_at_once(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their checkpoints are fetched at the same time, but not all of them."""
    monkeypatch.setattr(inheriting, "MOST_AT_ONCE", 2)
    dead, at_once, seen = services.dead(), 0, [0]
    jobs = [await dead.accept(b"%d" % number) for number in range(5)]
    bring = SharedStore.bring

    async def counted(store: SharedStore, name: str, path: Path) -> None:
        nonlocal at_once
        at_once += 1
        seen.append(at_once)
        if len(seen) <= 3:
            await until(lambda: max(seen) >= 2)
        await bring(store, name, path)
        at_once -= 1

    monkeypatch.setattr(SharedStore, "bring", counted)
    async with services.one("a") as one:
        one.workers.is_prompt = True
        for accepted in jobs:
            found = await one.jobs.find(accepted.id, "alice")
            await end_of(found)
            assert (found.state, found.attempts) == ("succeeded", 1)
        assert max(seen) == 2


@in_loop
async def test_a_job_that_two_services_have_left_is_run_once(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One was taken for dead while it handed the job over."""
    new_job = Workspace.new_job

    def slow(workspace: Workspace) -> JobFolder:
        time.sleep(0.2)  # so that a second heir would come before the first has the job
        return new_job(workspace)

    monkeypatch.setattr(Workspace, "new_job", slow)
    dead, other = services.dead(), services.dead()
    accepted = await dead.accept(b"checkpoint")
    await to_thread(other.store.pending.create, f"{other.store.service}/{accepted.name}", "")
    async with services.one("a") as one:
        one.workers.is_prompt = True
        await end_of(await one.jobs.find(accepted.id, "alice"))
        await until(lambda: not [key for key in services.left() if key.startswith("pending")])
        assert len(one.workers.runs) == 1


@in_loop
async def test_the_sign_of_a_service_that_is_gone_is_removed(services: Services) -> None:
    """Nothing else would ever remove it; those of services that live stay."""
    dead = services.dead()
    await to_thread(dead.store.announce)
    async with services.one("a") as one, services.one("b") as other:
        alive = {f"services/{services.store_of(board).service}" for board in (one, other)}
        await until(lambda: f"services/{dead.store.service}" not in services.left())
        assert alive <= services.left()


@in_loop
async def test_a_service_that_hangs_and_comes_back_does_no_harm(services: Services) -> None:
    """Its job was taken over meanwhile: whichever ends first has the outcome, with its files."""
    async with services.one("a") as one:
        entry = await one.submit(durable=True)
        run = await one.workers.next()
        await run.begin()
        hang(one)
        async with services.one("b") as other:
            again = await other.workers.next()
            again.succeed()
            found = await other.jobs.find(entry.id, "alice")
            await end_of(found)
            run.succeed()
            await end_of(entry)
            assert (found.outcome, entry.outcome) == (found.outcome, found.outcome)
            assert await to_thread(content_of, entry, ARTIFACT) == artifact_of(CONTENT)
            files = {key for key in services.left() if key.endswith(ARTIFACT)}
            assert len(files) == 1, "the files of the attempt that came too late are removed"


@in_loop
async def test_a_job_that_another_service_has_begun_is_left_to_it(services: Services) -> None:
    """The worker that comes second does not begin, and its clients hear of the other one's end."""
    async with services.one("a") as one:
        entry = await one.submit(durable=True)
        run = await one.workers.next()
        other = SharedStore(services.address)
        assert await to_thread(other.journal.claim, entry.accepted.name, 1)
        run.turn.set()
        await until(lambda: entry.is_elsewhere)
        outcome = Outcome(state="failed", finished_at=time.time(), attempt=1, seq=entry.seq + 1)
        await keep(other, entry.accepted, outcome)
        await end_of(entry)
        assert (entry.state, run.begun.is_set()) == ("failed", False)


@in_loop
async def test_a_cancelled_job_of_a_service_that_hangs_is_cancelled(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for it for ever, and what it would still write has no effect."""
    monkeypatch.setattr(fleet, "CANCEL_PATIENCE_S", 0.1)
    dead = services.dead()
    await to_thread(dead.store.services.write, dead.store.service, "a sign")
    accepted = await dead.accept(b"checkpoint")
    async with services.one("a") as one:
        found = await one.jobs.find(accepted.id, "alice")
        assert await one.jobs.cancel(found) == "cancelled"
        late = Outcome(state="succeeded", finished_at=time.time(), attempt=1)
        assert (await keep(dead.store, accepted, late)).state == "cancelled"


@in_loop
async def test_a_job_that_comes_back_to_a_service_has_an_heir_again(services: Services) -> None:
    """It was taken from the service before, and given back to it; then that service dies."""
    dead = services.dead()
    accepted = await dead.accept(b"checkpoint")
    between = SharedStore(services.address)
    assert await to_thread(between.take_over, accepted.name, dead.store.service)
    await to_thread(between.hand_over, accepted.name)
    [(handed, name)] = await to_thread(dead.store.pending_jobs)
    assert await to_thread(dead.store.take_over, name, handed)
    async with services.one("a") as one:
        one.workers.is_prompt = True
        found = await one.jobs.find(accepted.id, "alice")
        await end_of(found)
        assert found.state == "succeeded"


@in_loop
async def test_a_job_whose_checkpoint_is_gone_has_failed(services: Services) -> None:
    """Nobody can finish it, and it does not keep others from being finished."""
    dead = services.dead()
    lost, other = await dead.accept(b"lost"), await dead.accept(b"other")
    await to_thread(dead.store.jobs.remove, f"{lost.name}/input")
    async with services.one("a") as one:
        one.workers.is_prompt = True
        for accepted, state in ((lost, "failed"), (other, "succeeded")):
            found = await one.jobs.find(accepted.id, "alice")
            await end_of(found)
            assert found.state == state
            assert str(services.folder) not in str(found.outcome), "where the store is"
        await until(lambda: not [key for key in services.left() if key.startswith("pending")])


@in_loop
async def test_a_job_is_cancelled_while_it_is_taken_over(services: Services) -> None:
    """Its checkpoint is still on its way: it never begins."""
    # Written down before anybody looks: a dead service cannot be in the middle of that.
    accepted = await services.dead().accept(b"checkpoint")
    async with services.one("a") as one:
        await until(lambda: one.jobs.table.get(accepted.id) is not None)
        entry = await one.jobs.find(accepted.id, "alice")
        assert await one.jobs.cancel(entry) == "cancelled"
        assert (await one.jobs.find(accepted.id, "alice")).state == "cancelled"


@in_loop
async def test_a_passing_job_does_not_hide_a_stored_one(services: Services) -> None:
    """The stored job has ended, whoever runs the same request without storing it."""
    async with services.one("a") as one:
        stored = await one.submit(durable=True)
        (await one.workers.next()).succeed()
        await ended(stored)
        passing = await one.submit()
        assert passing.state == "queued"
        assert (await one.jobs.find(stored.id, "alice")).state == "succeeded"
        await one.jobs.remove(await one.jobs.find(stored.id, "alice"))
        assert passing.outcome is None


@in_loop
async def test_what_is_no_id_is_not_found(services: Services) -> None:
    """It is no part of an address either."""
    async with services.one("a") as one:
        for text in ("..", "a?b", "a" * 63, "A" * 64):
            with pytest.raises(NotFoundError):
                await one.jobs.find(text, "alice")


# A store that is away


@in_loop
async def test_jobs_outlive_a_time_without_the_store(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job ends when the store is back; nobody takes it over, since nobody was seen."""
    async with services.one("a") as one, services.one("b") as other:
        entry = await one.submit(durable=True)
        run = await one.workers.next()
        await run.begin()
        with monkeypatch.context() as away:
            for method in ("create", "write", "read", "listed", "put", "remove"):
                away.setattr(Bucket, method, refuse)
            run.succeed()
            await asyncio.sleep(1)
            assert entry.outcome is None
            with pytest.raises(StoreUnavailableError):
                await other.jobs.find(entry.id, "alice")
            with pytest.raises(StoreUnavailableError):
                await other.submit(b"another", durable=True)
            passing = await other.submit(b"passing")
            (await other.workers.next()).succeed()
            assert (await ended(passing)).state == "succeeded", "it needs no store"
            passing.release()
        await end_of(entry)
        assert (entry.state, len(other.workers.runs)) == ("succeeded", 1)


@in_loop
async def test_a_job_that_cannot_be_begun_without_the_store_waits_for_it(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has not failed: the next worker has it when the store is back."""
    monkeypatch.setattr(attempts, "_PAUSE_S", 0.01)
    async with services.one("a") as one:
        entry = await one.submit(durable=True)
        run = await one.workers.next()
        with monkeypatch.context() as away:
            away.setattr(Journal, "claim", refuse)
            run.turn.set()
            again = await one.workers.next()
        again.succeed()
        await end_of(entry)
        assert (entry.state, entry.attempts) == ("succeeded", 1)


@in_loop
async def test_a_job_is_cancelled_while_it_begins_without_the_store(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store that is away does not hide that: the job is not tried again."""
    asked, may_fail = threading.Event(), threading.Event()

    def refuse_late(*_: object) -> None:
        asked.set()
        may_fail.wait(60)
        refuse()

    async with services.one("a") as one:
        entry = await one.submit(durable=True)
        run = await one.workers.next()
        with monkeypatch.context() as away:
            away.setattr(Journal, "claim", refuse_late)
            run.turn.set()
            await to_thread(asked.wait, 60)
            cancelling = asyncio.ensure_future(one.jobs.cancel(entry))
            await asyncio.sleep(0.05)
            may_fail.set()
            assert await cancelling == "cancelled"
        assert len(one.workers.runs) == 1


@in_loop
async def test_a_service_ends_in_time_though_its_store_hangs(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing waits for the store any more, and another service finishes the job."""
    monkeypatch.setattr(board_module, "STOP_S", 0.2)
    monkeypatch.setattr(fleet, "LEAVE_S", 0.2)
    async with services.one("a") as one:
        entry = await one.submit(durable=True)
        run = await one.workers.next()
        await run.begin()
        with monkeypatch.context() as away:
            for ask in ("create", "put", "listing", "patiently", "remove", "stat"):
                away.setattr(bucket, ask, hangs)
            run.succeed()
            await until(lambda: entry.is_ending)
            async with asyncio.timeout(10):
                await one.jobs.stop()
            for threads, count in ((STORING, 16), (CARRYING, 8), (SIGNALLING, 2)):
                free = threading.Barrier(count)
                await asyncio.gather(*(threads.run(free.wait, 10) for _ in range(count)))
    async with services.one("b") as other:
        other.workers.is_prompt = True
        found = await other.jobs.find(entry.id, "alice")
        await end_of(found)
        assert (found.state, found.attempts) == ("succeeded", 2)


async def hangs(*_: object, **__: object) -> None:
    """Give no answer."""
    await asyncio.Event().wait()


def refuse(*_: object) -> None:
    """Be away."""
    raise StoreUnavailableError("It is away.", address="s3://a", reason="away")


@in_loop
async def test_a_result_that_cannot_be_stored_has_failed_and_is_forgotten(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client that waits hears so, and the same request is run again when the store is back."""
    async with services.one("a") as one:
        entry = await one.submit(kept=True)
        run = await one.workers.next()
        await run.begin()
        with monkeypatch.context() as away:
            for method in ("create", "write", "read", "listed", "put", "remove"):
                away.setattr(Bucket, method, refuse)
            run.succeed()
            await end_of(entry)
        assert code_of(entry) == "store-unavailable"
        one.workers.is_prompt = True
        again = await ended(await one.submit(kept=True))
        assert again.state == "succeeded"


# Keeping within bounds


@in_loop
async def test_the_oldest_jobs_go_if_there_is_no_room(services: Services) -> None:
    """They are gone for all services, with their files; those that go on stay."""
    async with services.one("a") as one, services.one("b") as other:
        one.workers.is_prompt = True
        entries = [
            await ended(await one.submit(b"x" * 40_000, durable=True, filename=f"{n}.pt"))
            for n in range(4)
        ]
        live = await other.submit(b"live", durable=True)
        sweeping = Sweeping(services.store_of(one), max_bytes=250_000, max_age_s=60)
        await to_thread(sweeping.sweep)
        for board in (one, other):
            for entry in entries[:2]:
                with pytest.raises(GoneError, match="expired"):
                    await board.jobs.find(entry.id, "alice")
            assert (await board.jobs.find(entries[3].id, "alice")).state == "succeeded"
            assert (await board.jobs.find(live.id, "alice")).state == "queued"
            found = {each.id for each in await listed(board)}
            assert live.id in found
            assert entries[0].id not in found


@in_loop
async def test_jobs_that_are_too_old_go(services: Services) -> None:
    """First they are expired, then forgotten: nothing is left of them."""
    async with services.one("a") as one:
        one.workers.is_prompt = True
        entry = await ended(await one.submit(durable=True))
        sweeping = Sweeping(services.store_of(one), max_bytes=10**6, max_age_s=-1)
        await to_thread(sweeping.sweep)
        with pytest.raises(GoneError, match="expired"):
            await one.jobs.find(entry.id, "alice")
        await to_thread(sweeping.sweep)
        assert not [key for key in services.left() if not key.startswith("services")]
        with pytest.raises(NotFoundError):
            await one.jobs.find(entry.id, "alice")


@in_loop
async def test_a_removal_that_was_broken_off_is_finished(services: Services) -> None:
    """What is left never looks like a job that has to be run: first it is gone, then forgotten."""
    async with services.one("a") as one:
        one.workers.is_prompt = True
        entry = await ended(await one.submit(durable=True))
        store = services.store_of(one)
        gone = Gone(owner="alice", why="It was removed.", at=time.time())
        await to_thread(store.jobs.write, f"{entry.id}/{GONE}", gone.model_dump_json())
        await to_thread(store.jobs.remove, f"{entry.id}/outcome.json")
        await to_thread(Sweeping(store, max_bytes=10**6, max_age_s=60).sweep)
        assert {key for key in services.left() if entry.id in key} == {f"jobs/{entry.id}/{GONE}"}
        await to_thread(store.journal.accept, entry.accepted)
        await to_thread(Sweeping(store, max_bytes=10**6, max_age_s=-1).sweep)
        assert not [key for key in services.left() if entry.id in key]


@in_loop
async def test_rows_of_jobs_that_are_not_there_go(services: Services) -> None:
    """Services died or gave up after they had written them; a job that is coming keeps its row."""
    dead = services.dead()
    half, coming = dead.accepted(b"half"), dead.accepted(b"coming")
    async with services.one("a") as one:
        one.workers.is_prompt = True
        done = await ended(await one.submit(durable=True))
        removed = await ended(await one.submit(b"removed", durable=True))
        await one.jobs.remove(await one.jobs.find(removed.id, "alice"))
        one.workers.is_prompt = False
        live = await one.submit(b"live", durable=True)
        refused = done.accepted.model_copy(update={"created_at": done.accepted.created_at + 1})
        for stray in (half, removed.accepted, refused):
            await to_thread(dead.store.index, stray)
        store = services.store_of(one)
        assert isinstance(one.others, fleet.Fleet)
        one.others._inheriting.accepting.add(coming.name)
        await to_thread(store.pending.create, f"{store.service}/{coming.name}", "")
        await to_thread(store.index, coming)
        sweeping = Sweeping(store, max_bytes=10**6, max_age_s=60)
        await to_thread(sweeping.sweep)
        rows = {row_of(each) for each in (done.accepted, live.accepted, coming)}
        assert {key for key in services.left() if key.startswith("owners")} == {
            f"owners/{row}" for row in rows
        }


@in_loop
async def test_a_job_that_was_run_anew_is_removed(services: Services) -> None:
    """Its successor has its id, and stays."""
    async with services.one("a") as one:
        cancelled = await one.submit(durable=True)
        await one.jobs.cancel(cancelled)
        one.workers.is_prompt = True
        again = await ended(await one.submit(durable=True))
        sweeping = Sweeping(services.store_of(one), max_bytes=10**6, max_age_s=60)
        await to_thread(sweeping.sweep)
        names = {
            key.removeprefix(f"jobs/{again.id}/")
            for key in services.left()
            if again.id in key and key.startswith("jobs")
        }
        assert {name.partition("/")[0] for name in names} == {"run-1"}
        assert (await one.jobs.find(again.id, "alice")).state == "succeeded"
