"""What holds on each server."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from convlast.errors import (
    SourceChangedError,
    SourceNotFoundError,
    StoreError,
    StoreUnavailableError,
)
from convlast.stores.address import Address
from convlast.stores.reading import fetch, listing, stat
from convlast.stores.writing import create, put, remove
from tests.stores.quick import IMPATIENT, MIB, QUICK, run
from tests.stores.servers import Server


@pytest.mark.parametrize("size", [0, 1, 5 * MIB, 5 * MIB + 1, 11 * MIB])
def test_what_is_put_is_fetched(folder: Address, tmp_path: Path, size: int) -> None:
    """In one request or in parts, with the same bytes and digest."""
    there = folder.child(f"{size} bytes+ü.pt")
    (tmp_path / "source").write_bytes(os.urandom(size))
    run(put(tmp_path / "source", there, QUICK))
    fetched = run(fetch(there, tmp_path / "back", QUICK))
    content = (tmp_path / "back").read_bytes()
    assert content == (tmp_path / "source").read_bytes()
    assert (fetched.size_bytes, fetched.sha256) == (size, hashlib.sha256(content).hexdigest())
    assert fetched.version == run(stat(there)).version
    assert fetched.version


def test_a_folder_is_listed(folder: Address, tmp_path: Path) -> None:
    """By name, with all that is below it, and what was removed is gone."""
    names = ["a/b.pt", "a/c d.pt", "e.pt", "f.pt"]
    for name in names:
        assert run(create(name.encode(), folder.child(name)))
    assert run(create(b"", Address.parse(f"{folder.text.rstrip('/')}-of-others/g.pt")))
    run(remove(folder.child("f.pt")))
    run(remove(folder.child("f.pt")))
    found = run(listing(folder))
    assert [each.name for each in found] == names[:3]
    assert [each.size_bytes for each in found] == [6, 8, 4]
    assert found[0].version == run(stat(found[0].address)).version
    assert run(listing(folder.child("nothing"))) == []


def test_one_of_many_creates(folder: Address, tmp_path: Path) -> None:
    """Of eight who race, one is told that it won, and its bytes are there; ten times."""
    there = [folder.child(f"key-{number}") for number in range(10)]

    async def race(address: Address) -> list[bool]:
        return await asyncio.gather(*(create(b"%d" % number, address) for number in range(8)))

    for number, address in enumerate(there):
        won = run(race(address))
        assert won.count(True) == 1
        run(fetch(address, tmp_path / f"{number}"))
        assert (tmp_path / f"{number}").read_bytes() == b"%d" % won.index(True)
        assert not run(create(b"again", address))


def test_an_object_that_changes_is_noticed(folder: Address, source: Path, tmp_path: Path) -> None:
    """All ranges come from one version, or from none."""
    there = folder.child("a.pt")
    run(put(source, there, QUICK))
    version = run(stat(there)).version

    async def race() -> None:
        changed = False

        def change(_count: int) -> None:
            nonlocal changed
            if not changed:
                changed = True
                asyncio.get_running_loop().create_task(replaced())

        async def replaced() -> None:
            await put(tmp_path / "other", there, QUICK)

        await fetch(there, tmp_path / "back", replace(QUICK, part_bytes=1 << 16), taken=change)

    (tmp_path / "other").write_bytes(os.urandom(11 * MIB))
    with pytest.raises(SourceChangedError):
        run(race())
    run(put(tmp_path / "other", there, QUICK))
    with pytest.raises(SourceChangedError):
        run(fetch(there, tmp_path / "back", version=version))
    assert not (tmp_path / "back").exists()


def test_what_is_absent_is_said(folder: Address, source: Path, tmp_path: Path) -> None:
    """An object, and a bucket: to who reads, to who lists, and to who writes."""
    nowhere = Address.parse("s3://no-such-bucket/a.pt")
    with pytest.raises(SourceNotFoundError):
        run(fetch(folder.child("nothing.pt"), tmp_path / "back"))
    works: list[Callable[[], Coroutine[Any, Any, object]]] = [
        lambda: stat(nowhere),
        lambda: listing(nowhere),
    ]
    for work in works:
        with pytest.raises(SourceNotFoundError, match="no such bucket"):
            run(work())
    with pytest.raises(StoreError):  # SeaweedFS refuses who writes, and does not say why
        run(put(source, nowhere, QUICK))


def test_no_server_is_away(environment: pytest.MonkeyPatch, source: Path) -> None:
    """Nobody listens: after all patience that is said, for every verb, with no secret."""
    environment.setenv("AWS_ENDPOINT_URL", "http://user:hunter2@127.0.0.1:9")
    address = Address.parse("s3://bucket/a.pt")
    works: list[Callable[[], Coroutine[Any, Any, object]]] = [
        lambda: stat(address, IMPATIENT),
        lambda: listing(address, IMPATIENT),
        lambda: remove(address, IMPATIENT),
        lambda: create(b"", address, IMPATIENT),
        lambda: put(source, address, IMPATIENT),
    ]
    for work in works:
        with pytest.raises(StoreUnavailableError) as error:
            run(work())
        assert error.value.reason == "away"
        assert "hunter2" not in f"{error.value!r} {error.value.details} {error.value.__context__!r}"


def test_an_upload_that_is_cancelled_leaves_nothing(
    folder: Address, server: Server, source: Path
) -> None:
    """No object, and no part of one."""

    async def begin() -> None:
        begun = asyncio.Event()
        work = asyncio.create_task(
            put(source, folder.child("a.pt"), QUICK, progress=lambda *_: begun.set())
        )
        await begun.wait()
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work

    run(begin())
    assert server.unfinished(folder) == 0
    assert run(listing(folder)) == []
