"""Which requests have the same job: all that decides a result is part of its id."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from convlast.options import Options
from convlast.provenance.envelope import Envelope
from convlast.provenance.signing import read_public_key
from service.jobs.entry import JobEntry
from service.jobs.identity import decisive, identify
from service.jobs.records import PROVENANCE_DSSE
from service.settings import Settings
from tests.convlast.provenance.keys import KeyFiles, write_keys
from tests.service.jobs.boards import (
    FakeWorkers,
    content_of,
    ended,
    in_loop,
    left_by_a_crash,
    opened,
)


@pytest.fixture
def keys(tmp_path: Path) -> list[KeyFiles]:
    """Make two pairs of keys."""
    folders = [tmp_path / name for name in ("first", "second")]
    for folder in folders:
        folder.mkdir()
    return [write_keys(folder) for folder in folders]


def is_signed(entry: JobEntry, key: KeyFiles) -> bool:
    """Return whether the statement on the artifact of a job is signed by a key."""
    envelope = Envelope.of(json.loads(content_of(entry, PROVENANCE_DSSE)))
    return read_public_key(key.public).has_signed(envelope)


def put(used: Path, key: KeyFiles) -> Path:
    """Write a private key to the file that the service reads, and return this."""
    used.touch(0o600)
    used.write_bytes(key.private.read_bytes())
    return used


def test_an_id_follows_from_all_that_decides(tmp_path: Path) -> None:
    """Limits, the device kind and the key are a part of it; the work folder and times are not."""
    settings = Settings(work_dir=tmp_path / "a")

    def id_of(kind: str = "cpu", keyid: str | None = None, **more: Any) -> str:
        changed = settings.model_copy(update=more)
        decides = decisive(changed, kind, keyid)
        return identify("alice", "convert", "m.pt", ["00"], Options(), decides)

    assert id_of() == id_of(work_dir=tmp_path / "b", store_age_s=1.0, port=1)
    changed = [id_of("a GPU"), id_of(max_tensors=1), id_of(allow_programs=True)]
    assert len({id_of(), *changed, id_of(keyid="aa"), id_of(keyid="bb")}) == 6


@in_loop
async def test_a_new_key_makes_another_job_of_the_same_request(
    tmp_path: Path, keys: list[KeyFiles]
) -> None:
    """The earlier job stays as it was signed; an inspection is not signed, and stays the same."""
    used, workers = put(tmp_path / "key.pem", keys[0]), FakeWorkers(is_prompt=True)
    async with opened(tmp_path / "work", workers, signing_key_file=used) as board:
        entries = []
        for key in (*keys, keys[0]):
            put(used, key)
            board.jobs.signing_key.read_again()
            entries.append(await ended(await board.submit(durable=True)))
            inspection = await ended(await board.submit(durable=True, verb="inspect"))
            assert is_signed(entries[-1], key)
        assert entries[0] is entries[2]
        assert len(list(board.jobs.table)) == 3
    async with opened(tmp_path / "other", workers) as board:
        assert (await board.submit(verb="inspect")).id == inspection.id


@in_loop
async def test_a_key_that_comes_while_a_job_waits_signs_it(
    tmp_path: Path, keys: list[KeyFiles]
) -> None:
    """The job is what it was for its clients; the same request has a new one from now on."""
    used = put(tmp_path / "key.pem", keys[0])
    async with opened(tmp_path / "work", signing_key_file=used) as board:
        entry = await board.submit(durable=True)
        run = await board.workers.next()
        put(used, keys[1])
        board.jobs.signing_key.read_again()
        run.succeed()
        await ended(entry)
        assert is_signed(entry, keys[1])
        assert await board.jobs.find(entry.id, "alice") is entry
        later = await board.submit(durable=True)
        assert later is not entry
        (await board.workers.next()).succeed()
        assert is_signed(await ended(later), keys[1])


@in_loop
async def test_jobs_of_a_service_that_gets_a_key_go_on(
    tmp_path: Path, keys: list[KeyFiles]
) -> None:
    """After its restart those that waited are signed; those that had ended are not handed out."""
    workers = FakeWorkers(is_prompt=True)
    async with opened(tmp_path / "work", workers) as board:
        kept = await ended(await board.submit(durable=True))
        workers.is_prompt = False
        waits = await board.submit(b"other", durable=True)
        folder = left_by_a_crash(board)
    async with opened(folder, signing_key_file=keys[0].private) as board:
        (await board.workers.next()).succeed()
        assert is_signed(await ended(await board.jobs.find(waits.id, "alice")), keys[0])
        found = await board.jobs.find(kept.id, "alice")
        assert PROVENANCE_DSSE not in found.made
        board.workers.is_prompt = True
        again = await ended(await board.submit(durable=True))
        assert again.id != kept.id
        assert is_signed(again, keys[0])
