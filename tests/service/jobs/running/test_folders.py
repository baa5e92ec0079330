"""A job whose checkpoint is a model folder in a store; the store is a folder of this machine."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from convlast.errors import (
    AddressError,
    AddressNotAllowedError,
    LimitExceededError,
    SourceNotFoundError,
    StoreError,
)
from convlast.report.folder_digest import listing_digest
from service.errors import UploadTooLargeError, WorkerCrashedError
from service.jobs.description import describe
from service.jobs.entry import JobEntry
from service.jobs.records import PROVENANCE_JSON
from service.jobs.submission import Submission
from service.settings import Settings
from service.transfers import Transfers
from service.transfers.access import StoreAccess
from service.transfers.fetching import Found
from service.transfers.packing import members_in, names_in
from service.workers import REPORT_HTML, REPORT_JSON
from tests.service.jobs.boards import (
    Board,
    FakeWorkers,
    code_of,
    ended,
    in_loop,
    left_by_a_crash,
    opened,
)
from tests.service.jobs.stored import Gate, Store, held_up

FILES = {
    "config.json": b"{}",
    "vae/m-00001-of-00002.bin": b"first" * 1000,
    "vae/m-00002-of-00002.bin": b"",
    "vae/m.index.json": b'{"weight_map": {}}',
}
REPORTS = {"vae.report.html", "vae.report.json", "vae.sha256"}


class FolderStore(Store):
    """A folder with a model folder in it, as addresses."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.folder = self.checkpoint.parent / "model"
        for name, content in FILES.items():
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_bytes(content)

    @property
    def source(self) -> str:
        """The address of the model folder."""
        return f"file://{self.folder}/"

    @property
    def target(self) -> str:
        """The address of what it becomes."""
        return f"file://{self.results}/vae/"

    @property
    def settings(self) -> dict[str, Any]:
        """Settings that allow both."""
        return {**super().settings, "targets": (f"file://{self.results}/",)}

    def wanted(
        self, board: Board, found: Found, *, target: bool = False, durable: bool = True
    ) -> Submission:
        """Return a request for the model folder."""
        wanted = super().wanted(board, found, target=target, durable=durable)
        wanted.source = replace(wanted.source, filename="model")
        return wanted

    def made(self) -> dict[str, bytes]:
        """Return what was delivered, by its path."""
        return {
            path.relative_to(self.results).as_posix(): path.read_bytes()
            for path in self.results.rglob("*")
            if path.is_file()
        }


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FolderStore]:
    """Make a store with a model folder; it is left as it was."""
    made = FolderStore(tmp_path / "store")
    yield made
    assert made.folder.is_dir()


async def submitted(store: FolderStore, board: Board, *, target: bool = False) -> JobEntry:
    """Look for the model folder, and submit a job with it."""
    found = await board.transfers.fetching.look(store.source)
    if target:
        await board.transfers.delivering.check_folder(store.target, found)
    return await board.submitted(store.wanted(board, found, target=target))


def transfers_of(**settings: object) -> Transfers:
    """Return what fetches and delivers under these settings."""
    return Transfers.of(Settings.model_validate(settings), StoreAccess())


def files_in(path: Path) -> dict[str, bytes]:
    """Return the files in a tar."""
    whole = path.read_bytes()
    members = members_in(path, names_in(path))
    return {each.name: whole[each.place.start : each.place.stop] for each in members}


@in_loop
async def test_a_worker_gets_one_tar(tmp_path: Path, store: FolderStore) -> None:
    """It has every file; the status has the folder, and the digest that a report has for it."""
    workers = FakeWorkers()
    async with opened(tmp_path / "work", workers, **store.settings) as board:
        entry = await submitted(store, board)
        run = await workers.next()
        assert files_in(run.files.source) == FILES
        assert (run.job.is_packed, run.job.loaded_as) == (True, None)
        run.succeed()
        told = describe(await ended(entry), base="", max_age_s=1)
        each = ((name, hashlib.sha256(content).hexdigest()) for name, content in FILES.items())
        assert told.input.sha256 == run.job.sha256 == listing_digest(each)
        assert (told.state, told.input.source) == ("succeeded", store.source)
        assert entry.made["artifact"].filename == "model.channels_last_3d.tar"
        assert board.workspace.quota.taken_bytes == 0


@in_loop
async def test_each_file_is_delivered(tmp_path: Path, store: FolderStore) -> None:
    """Under its own name, with the reports and the digests beside the folder."""
    async with opened(tmp_path / "work", FakeWorkers(is_prompt=True), **store.settings) as board:
        entry = await ended(await submitted(store, board, target=True))
        assert entry.state == "succeeded"
        made = store.made()
        assert made.keys() == {*(f"vae/{name}" for name in FILES), *REPORTS}
        assert {name: made[f"vae/{name}"] for name in FILES} == FILES
        assert made["vae.sha256"].decode().splitlines() == [
            f"{hashlib.sha256(content).hexdigest()}  vae/{name}" for name, content in FILES.items()
        ]
        assert set(entry.made) == {REPORT_JSON, REPORT_HTML, PROVENANCE_JSON}
        told = describe(entry, base="", max_age_s=1)
        assert told.target == store.target
        kinds = {"report", "html", "markdown", "junit", "sarif"}
        assert told.links.keys() == {"self", "events", "provenance", *kinds}


@in_loop
async def test_no_statement_stays_beside_another_folder(tmp_path: Path, store: FolderStore) -> None:
    """An earlier job may have delivered one to the same place."""
    store.results.mkdir()
    for name in ("vae.provenance.json", "vae.provenance.dsse.json"):
        (store.results / name).write_text("about an earlier folder")
    async with opened(tmp_path / "work", FakeWorkers(is_prompt=True), **store.settings) as board:
        await ended(await submitted(store, board, target=True))
        assert store.made().keys() == {*(f"vae/{name}" for name in FILES), *REPORTS}


@in_loop
async def test_an_index_comes_after_its_shards_and_the_report_last(
    tmp_path: Path, store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who sees an index finds its shards; who sees the report, all."""
    from convlast.stores import writing

    order: list[str] = []
    put = writing.put

    async def noted(path: Path, address: object, *arguments: object, **keywords: object) -> None:
        await put(path, address, *arguments, **keywords)  # type: ignore[arg-type]  # as they are
        order.append(str(address).partition("/out/")[2])

    monkeypatch.setattr(writing, "put", noted)
    async with opened(tmp_path / "work", FakeWorkers(is_prompt=True), **store.settings) as board:
        await ended(await submitted(store, board, target=True))
    assert set(order[:3]) == {f"vae/{name}" for name in FILES if "index" not in name}
    assert order[3:] == ["vae/vae/m.index.json", "vae.sha256", "vae.report.html", "vae.report.json"]


def change(store: FolderStore) -> None:
    """Replace a file by another one of the same size."""
    (store.folder / "other").write_bytes(b"other" * 1000)
    (store.folder / "other").rename(store.folder / "vae" / "m-00001-of-00002.bin")


def add(store: FolderStore) -> None:
    """Add a file, too small to need another block of the tar."""
    (store.folder / "config.json").rename(store.folder / "setting.json")


def take(store: FolderStore) -> None:
    """Take all files away."""
    for name in FILES:
        (store.folder / name).unlink()


@pytest.mark.parametrize(
    ("happens", "code"),
    [(change, "source-changed"), (add, "source-changed"), (take, "source-not-found")],
)
@in_loop
async def test_a_folder_that_changes_is_refused(
    tmp_path: Path, store: FolderStore, happens: object, code: str
) -> None:
    """After a crash it is fetched again in the versions that its client has asked for."""
    gate = Gate()
    transfers = held_up(store, fetching=gate)
    async with opened(tmp_path / "work", None, transfers, **store.settings) as board:
        first = await submitted(store, board)
        await gate.reached.wait()
        left = left_by_a_crash(board)
    assert callable(happens)
    happens(store)
    async with opened(left, FakeWorkers(is_prompt=True), **store.settings) as board:
        (again,) = board.jobs.table
        assert (again.id, code_of(await ended(again))) == (first.id, code)
        assert list((left / "jobs").iterdir()) == []


@in_loop
async def test_a_crash_has_it_fetched_and_delivered_again(
    tmp_path: Path, store: FolderStore
) -> None:
    """What was delivered before is replaced, and counts as nobody else's."""
    (store.results / "vae").mkdir(parents=True)
    gate = Gate()
    transfers = held_up(store, fetching=gate)
    async with opened(tmp_path / "work", None, transfers, **store.settings) as board:
        await submitted(store, board, target=True)
        await gate.reached.wait()
        left = left_by_a_crash(board)
    (store.results / "vae" / "config.json").write_bytes(b"half of it was there")
    async with opened(left, FakeWorkers(is_prompt=True), **store.settings) as board:
        (again,) = board.jobs.table
        assert (await ended(again)).state == "succeeded"
        assert store.made()["vae/config.json"] == b"{}"


@in_loop
async def test_files_of_others_are_not_mixed_in(tmp_path: Path, store: FolderStore) -> None:
    """It is told at the request, and if they come later, when it is delivered."""
    other = store.results / "vae" / "other.bin"
    gate, workers = Gate(), FakeWorkers(is_prompt=True)
    transfers = held_up(store, fetching=gate)
    async with opened(tmp_path / "work", workers, transfers, **store.settings) as board:
        entry = await submitted(store, board, target=True)
        other.parent.mkdir(parents=True)
        other.touch()
        gate.open.set()
        assert code_of(await ended(entry)) == "address-not-allowed"
        assert [*store.made()] == ["vae/other.bin"]
        with pytest.raises(AddressNotAllowedError, match="mixed"):
            await submitted(store, board, target=True)
        other.rename(other.with_name("config.json"))
        (other.parent / "b.bin").touch()
        with pytest.raises(AddressNotAllowedError, match="mixed"):
            await submitted(store, board, target=True)
        (other.parent / "b.bin").unlink()
        assert (await ended(await submitted(store, board, target=True))).state == "succeeded"


@in_loop
async def test_a_folder_that_is_replaced_is_not_called_whole_meanwhile(
    tmp_path: Path, store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The report of an earlier delivery goes before its files do."""
    from convlast.stores import writing

    reports: list[bool] = []
    put = writing.put

    async def noted(*arguments: object, **keywords: object) -> None:
        reports.append((store.results / "vae.report.json").exists())
        await put(*arguments, **keywords)  # type: ignore[arg-type]  # as they are

    (store.results).mkdir(parents=True)
    (store.results / "vae.report.json").write_text("{}")
    monkeypatch.setattr(writing, "put", noted)
    async with opened(tmp_path / "work", FakeWorkers(is_prompt=True), **store.settings) as board:
        await ended(await submitted(store, board, target=True))
    assert (any(reports), "vae.report.json" in store.made()) == (False, True)


@in_loop
async def test_a_worker_names_no_file(
    tmp_path: Path, store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was taken over could write anywhere else; nothing of its tar is delivered."""
    from tests.service.jobs import boards

    usual = boards.write_files

    def hostile(job: object, folder: Path, content: bytes) -> object:
        return usual(job, folder, content.replace(b"config.json", b"../../a.jsn"))  # type: ignore[arg-type]  # a job

    monkeypatch.setattr(boards, "write_files", hostile)
    async with opened(tmp_path / "work", FakeWorkers(is_prompt=True), **store.settings) as board:
        entry = await ended(await submitted(store, board, target=True))
        assert code_of(entry) == WorkerCrashedError.code
        assert not store.results.exists()


@in_loop
async def test_a_delivery_is_cancelled(tmp_path: Path, store: FolderStore) -> None:
    """As that of a file is."""
    gate = Gate()
    transfers = held_up(store, delivering=gate)
    workers = FakeWorkers(is_prompt=True)
    async with opened(tmp_path / "work", workers, transfers, **store.settings) as board:
        entry = await submitted(store, board, target=True)
        await gate.reached.wait()
        assert describe(entry, base="", max_age_s=1).progress.stage == "deliver"
        assert await board.jobs.cancel(entry) == "cancelled"
        assert (gate.is_left, store.results.exists()) == (True, False)


@in_loop
async def test_all_files_together_count(store: FolderStore) -> None:
    """Their number is limited as in any folder, and their sum as the size of an upload."""
    few = transfers_of(**store.settings, max_files=3)
    with pytest.raises(LimitExceededError) as many:
        await few.fetching.look(store.source)
    assert (many.value.limit, many.value.allowed) == ("max_files", 3)
    small = transfers_of(**store.settings, max_upload_bytes=5000)
    with pytest.raises(UploadTooLargeError):
        await small.fetching.look(store.source)


@in_loop
async def test_what_is_no_folder_of_files_is_refused(store: FolderStore) -> None:
    """An empty one, one of a web server, and one with a link that leads out of what is allowed."""
    transfers = transfers_of(sources=(*store.settings["sources"], "https://host/"))
    for text, error in [
        (f"{store.source}none/", SourceNotFoundError),
        ("https://host/model/", AddressError),
        (f"{store.source}../model/", AddressError),
        ("file:///etc/", AddressNotAllowedError),
    ]:
        with pytest.raises(error):
            await transfers.fetching.look(text)
    (store.folder / "link.bin").symlink_to("/etc/passwd")
    with pytest.raises(AddressNotAllowedError):
        await transfers.fetching.look(store.source)
    (store.folder / "link.bin").unlink()
    (store.folder / "etc").symlink_to("/etc")
    with pytest.raises(StoreError):
        await transfers.fetching.look(store.source)


@in_loop
async def test_what_must_not_be_written_is_refused(store: FolderStore) -> None:
    """The source, what is not allowed, and what a link leads to."""
    allowed = {"targets": (f"file://{store.results}/", f"file://{store.folder}/", "s3://bucket/")}
    transfers = transfers_of(**store.settings | allowed)
    found = await transfers.fetching.look(store.source)
    for text, error, words in [
        (f"file://{store.results}/vae", AddressError, "slash"),
        ("s3://bucket/", AddressError, "all of a bucket"),
        (f"file://{store.results}/", AddressNotAllowedError, "beside it"),
        (f"{store.source}made/", AddressNotAllowedError, "the source"),
        ("file:///elsewhere/", AddressNotAllowedError, "CONVLAST_TARGETS"),
    ]:
        with pytest.raises(error, match=words):
            await transfers.delivering.check_folder(text, found)
    (store.results / "linked").mkdir(parents=True)
    (store.results / "linked" / "vae").symlink_to("/etc")
    with pytest.raises(AddressNotAllowedError, match="leads elsewhere"):
        await transfers.delivering.check_folder(f"file://{store.results}/linked/", found)
    (store.results / "same").symlink_to(store.folder)
    with pytest.raises(AddressNotAllowedError):
        await transfers.delivering.check_folder(f"file://{store.results}/same/", found)
