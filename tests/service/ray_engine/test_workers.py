from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from convlast.errors import StorageFullError, StoreUnavailableError
from convlast.stores.address import Address
from convlast.stores.opening import StoreOptions
from convlast.stores.reading import Fetched, fetch
from convlast.stores.writing import put
from service.errors import NotReadyError
from service.problems import Problem, ProblemError
from service.ray_engine import carrying, seat, workers
from service.workers import REPORT_HTML, REPORT_JSON, JobFiles, Listener
from tests.service.jobs.boards import in_loop
from tests.service.listening import Heard
from tests.service.ray_engine.played import (
    Act,
    PlayedCluster,
    PlayedWorkers,
    problem_of,
    ran,
    until,
    working,
)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask often, so that no test waits long."""
    monkeypatch.setattr(seat, "ASK_S", 0.02)
    monkeypatch.setattr(workers, "LOOK_S", 0.02)


@pytest.fixture
def cluster(tmp_path: Path) -> PlayedCluster:
    """Make a cluster without slots."""
    return PlayedCluster(tmp_path)


def raising(error: Exception) -> Act:
    """Return what raises this error."""

    async def act(files: JobFiles, listener: Listener) -> None:
        raise error

    return act


async def forever(files: JobFiles, listener: Listener) -> None:
    """Never end."""
    await asyncio.Event().wait()


@in_loop
async def test_a_job_runs_in_a_slot(cluster: PlayedCluster) -> None:
    """Its checkpoint goes there, its results come back, and nothing is left on the way."""
    cluster.add("slot-0")
    heard = Heard()
    async with working(cluster) as used:
        finished = await ran(used, cluster.folder, heard)
    made = cluster.folder / "made"
    assert {path.name for path in made.iterdir()} == {"out.pt", REPORT_JSON, REPORT_HTML}
    assert (made / "out.pt").read_bytes() == b"a checkpoint"
    assert heard.devices == ["slot-0/cpu"]
    assert heard.progress == [("read", 1, 1)]
    assert list(finished.seconds) == ["queue", "convert"]
    assert finished.seconds["queue"] > 0


@in_loop
async def test_each_slot_has_one_job(cluster: PlayedCluster) -> None:
    """Two jobs take two slots, and a third one waits."""
    slots = [cluster.add(f"slot-{n}", PlayedWorkers(act=forever)) for n in range(2)]
    async with working(cluster) as used:
        await until(lambda: sum(lane.ready for lane in used.health().lanes) == 2)
        jobs = [asyncio.ensure_future(ran(used, cluster.folder, Heard())) for _ in range(3)]
        await until(lambda: all(each.workers.begun.is_set() for each in slots))
        assert used.health().waiting == 1
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)
    assert all(each.workers.is_cancelled for each in slots)


@in_loop
async def test_a_refusal_comes_with_its_report(cluster: PlayedCluster) -> None:
    """Its code, its members and its report are those that the worker gave."""
    refused = Problem("verification-failed", "They differ.", {"layer": "a"}, report='{"a": 1}')
    cluster.add("slot-0", PlayedWorkers(act=raising(ProblemError(refused))))
    async with working(cluster) as used:
        assert await problem_of(ran(used, cluster.folder, Heard())) == refused
    assert (cluster.folder / "made" / REPORT_JSON).read_text() == '{"a": 1}'


@in_loop
async def test_a_cancelled_job_is_gone(cluster: PlayedCluster) -> None:
    """When the cancelled call returns, the job has ended in its slot, which takes the next one."""
    slot = cluster.add("slot-0", PlayedWorkers(act=forever))
    async with working(cluster) as used:
        job = asyncio.ensure_future(ran(used, cluster.folder, Heard()))
        await slot.workers.begun.wait()
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job
        assert slot.workers.is_cancelled
        slot.workers.act = None
        assert (await ran(used, cluster.folder, Heard())).verdict == "passed"


@in_loop
async def test_a_dead_slot_is_told(cluster: PlayedCluster) -> None:
    """Its job ends as if the device was lost, so it is repeated, and runs in another slot."""
    first = cluster.add("slot-0", PlayedWorkers(act=forever))
    async with working(cluster) as used:
        job = asyncio.ensure_future(problem_of(ran(used, cluster.folder, Heard())))
        await first.workers.begun.wait()
        first.is_gone = True
        assert (await job).code == "device-lost"
        await first.slot.stop()  # as the node does in earnest
        cluster.add("slot-1")
        heard = Heard()
        assert (await ran(used, cluster.folder, heard)).verdict == "passed"
        assert heard.devices == ["slot-1/cpu"]
        lost = next(lane for lane in used.health().lanes if lane.device.startswith("slot-0"))
        assert not lost.ready
        assert lost.problem


@in_loop
async def test_a_slot_that_was_started_again_knows_no_job(cluster: PlayedCluster) -> None:
    """Its job ends as if the device was lost."""
    slot = cluster.add("slot-0", PlayedWorkers(act=forever))
    async with working(cluster) as used:
        job = asyncio.ensure_future(problem_of(ran(used, cluster.folder, Heard())))
        await slot.workers.begun.wait()
        await slot.slot.stop()
        assert (await job).code == "device-lost"


@in_loop
async def test_a_job_begins_only_if_it_may(cluster: PlayedCluster) -> None:
    """What the listener raises stops it before it begins."""

    class Refusing(Heard):
        async def begins(self, device: str) -> None:
            raise StorageFullError("The disk is full.")

    slot = cluster.add("slot-0")
    async with working(cluster) as used:
        assert (await problem_of(ran(used, cluster.folder, Refusing()))).code == "storage-full"
    assert slot.workers.is_cancelled
    assert not slot.workers.begun.is_set()


@in_loop
async def test_a_device_that_fails_passes_its_job_on(cluster: PlayedCluster) -> None:
    """Another slot runs it."""
    failing = PlayedWorkers()
    failing.act = raising(NotReadyError("The device has failed."))
    cluster.add("slot-0", failing)
    async with working(cluster) as used:
        job = asyncio.ensure_future(ran(used, cluster.folder, Heard()))
        await failing.begun.wait()
        failing.problem = "The device has failed."
        cluster.add("slot-1")
        assert (await job).verdict == "passed"


@in_loop
async def test_another_kind_of_gpu_is_not_used(cluster: PlayedCluster) -> None:
    """The results would differ; its lane says so."""
    cluster.add("slot-0", PlayedWorkers(gpu="H100"))
    async with working(cluster) as used:
        assert await used.kind() == "H100"
        cluster.add("slot-1", PlayedWorkers(gpu="L4"))
        await until(lambda: any(lane.gpu == "L4" for lane in used.health().lanes))
        other = next(lane for lane in used.health().lanes if lane.gpu == "L4")
        assert not other.ready
        assert other.problem == "It is a L4, and others are H100."


@in_loop
async def test_a_slot_of_another_version_is_not_used(cluster: PlayedCluster) -> None:
    """Neither an older one, nor one so old that it does not tell; its lane says what is wrong."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers, "GRACE_S", 0.5)
        cluster.add("slot-0").slot.version = "0.0.1"
        cluster.add("slot-1").slot.version = ""
        async with working(cluster) as used:
            assert (await problem_of(ran(used, cluster.folder, Heard()))).code == "not-ready"
            told = [lane.problem or "" for lane in used.health().lanes]
            assert "version 0.0.1 of the service" in told[0]
            assert "another version of the service" in told[1]
            cluster.add("slot-2")
            await until(lambda: used.health().ready)
            heard = Heard()
            assert (await ran(used, cluster.folder, heard)).verdict == "passed"
            assert heard.devices == ["slot-2/cpu"]


@pytest.mark.parametrize("size_bytes", [carrying.SMALL_BYTES, carrying.SMALL_BYTES + 1])
def test_small_results_are_told_and_large_ones_go_through_the_store(
    cluster: PlayedCluster, size_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both arrive whole, whatever bytes they hold."""
    fetched = []

    async def fetches(address: Address, path: Path, options: StoreOptions) -> Fetched:
        fetched.append(path.name)
        return await fetch(address, path, options)

    @in_loop
    async def test() -> None:
        cluster.add("slot-0")
        monkeypatch.setattr(carrying, "fetch", fetches)
        content = b"\xff\x00" + bytes(size_bytes - 2)
        async with working(cluster) as used:
            await ran(used, cluster.folder, Heard(), content)
        assert (cluster.folder / "made" / "out.pt").read_bytes() == content

    test()
    assert fetched == ["out.pt"] * (size_bytes > carrying.SMALL_BYTES)


@in_loop
async def test_jobs_do_not_wait_for_ever(cluster: PlayedCluster) -> None:
    """If no slot works for long, they are refused, and those that come later too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers, "GRACE_S", 0.2)
        async with working(cluster) as used:
            assert (await problem_of(ran(used, cluster.folder, Heard()))).code == "not-ready"
            with pytest.raises(NotReadyError):
                await used.kind()
            assert used.health().problem == "No node of the cluster has a slot."


@in_loop
async def test_slots_come_and_go(cluster: PlayedCluster) -> None:
    """A new one gets a lane, one that is gone loses it, and a silent one is given up."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers, "GRACE_S", 0.3)
        cluster.add("slot-0")
        async with working(cluster) as used:
            silent = cluster.add("slot-1")
            await until(lambda: len(used.health().lanes) == 2)
            silent.is_gone = True
            await until(lambda: cluster.dropped == ["slot-1"])
            await until(lambda: len(used.health().lanes) == 1)
            assert used.health().ready


@in_loop
async def test_results_that_the_store_does_not_take_leave_nothing(
    cluster: PlayedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job ends as the store says, and what was put before is removed."""

    async def puts(path: Path, address: Address, options: StoreOptions) -> None:
        if address.name == "result-1":
            raise StoreUnavailableError("It is full.", address=str(address), reason="refused")
        await put(path, address, options)

    async def makes(files: JobFiles, listener: Listener) -> None:
        monkeypatch.setattr(carrying, "SMALL_BYTES", 0)
        monkeypatch.setattr(carrying, "put", puts)

    cluster.add("slot-0", PlayedWorkers(act=makes))
    async with working(cluster) as used:
        problem = await problem_of(ran(used, cluster.folder, Heard()))
    assert problem.code == "store-unavailable"


@in_loop
async def test_a_link_is_no_result(cluster: PlayedCluster) -> None:
    """What a worker has made is opened without following links, so no other file is sent."""
    secret = cluster.folder / "given" / "secret"

    async def links(files: JobFiles, listener: Listener) -> None:
        secret.write_bytes(b"secret")
        (files.folder / "out.pt").symlink_to(secret)

    cluster.add("slot-0", PlayedWorkers(act=links))
    async with working(cluster) as used:
        assert (await problem_of(ran(used, cluster.folder, Heard()))).code == "worker-crashed"


@pytest.mark.parametrize("name", ["../out.pt", "a/out.pt", REPORT_JSON])
def test_a_path_is_no_name(cluster: PlayedCluster, name: str) -> None:
    """Nothing is written outside the folder of the results."""

    async def makes(files: JobFiles, listener: Listener) -> None:
        target = files.folder / name
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(b"hostile")

    @in_loop
    async def test() -> None:
        cluster.add("slot-0", PlayedWorkers(act=makes, artifact=name))
        async with working(cluster) as used:
            assert (await problem_of(ran(used, cluster.folder, Heard()))).code == "worker-crashed"

    test()
    assert list((cluster.folder / "made").iterdir()) == []
