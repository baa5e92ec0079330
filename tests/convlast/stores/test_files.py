"""The laws of reading and writing, with a folder as the store."""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from convlast.errors import (
    AddressError,
    LimitExceededError,
    SourceChangedError,
    SourceNotFoundError,
    StoreUnavailableError,
)
from convlast.stores.address import Address
from convlast.stores.reading import Listed, fetch, fetch_into, listing, stat
from convlast.stores.writing import create, put, remove
from tests.stores.quick import SMALL, address_of, run


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(size=st.integers(0, 5000))
def test_what_is_put_is_fetched(tmp_path: Path, size: int) -> None:
    """Bytes, size and digest are the same, whatever parts they travel in."""
    source, there, back = tmp_path / "source", tmp_path / "a folder" / "there", tmp_path / "back"
    source.write_bytes(os.urandom(size))
    run(put(source, address_of(there), SMALL))
    fetched = run(fetch(address_of(there), back, SMALL))
    content = back.read_bytes()
    back.unlink()
    assert content == there.read_bytes() == source.read_bytes()
    assert (fetched.size_bytes, fetched.sha256) == (size, hashlib.sha256(content).hexdigest())
    assert fetched.version == run(stat(address_of(there))).version


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(size=st.integers(0, 3000), start=st.integers(0, 3000), after=st.integers(0, 50))
def test_a_part_of_a_file_is_put_and_fetched(
    tmp_path: Path, size: int, start: int, after: int
) -> None:
    """Its bytes alone go out; they come into their place, and nothing around it changes."""
    whole, there = os.urandom(start + size + after), tmp_path / "there"
    (tmp_path / "whole").write_bytes(whole)
    part = range(start, start + size)
    run(put(tmp_path / "whole", address_of(there), SMALL, part=part))
    assert there.read_bytes() == whole[start : start + size]
    with (tmp_path / "back").open("w+b") as back:
        back.write(bytes(len(whole)))
        back.flush()
        fetched = run(fetch_into(back.fileno(), address_of(there), SMALL, at=start))
    expected = bytes(start) + whole[start : start + size] + bytes(after)
    assert (tmp_path / "back").read_bytes() == expected
    assert fetched.sha256 == hashlib.sha256(there.read_bytes()).hexdigest()


def test_progress_is_told_of_both_ways(tmp_path: Path) -> None:
    """A stage begins with nothing, never goes back, and ends when the work has ended."""
    source = tmp_path / "source"
    source.write_bytes(bytes(5000))
    told: list[tuple[str, int, int]] = []
    taken: list[int] = []

    def progress(stage: str, done: int, total: int) -> None:
        if done == total and stage == "upload":
            assert (tmp_path / "there").exists()
        told.append((stage, done, total))

    run(put(source, address_of(tmp_path / "there"), SMALL, progress=progress))
    run(fetch(address_of(source), tmp_path / "back", SMALL, taken=taken.append, progress=progress))
    for stage in ("upload", "download"):
        dones = [done for name, done, _ in told if name == stage]
        assert (dones[0], dones[-1]) == (0, 5000)
        assert dones == sorted(set(dones))
    assert sum(taken) == 5000


def test_nothing_is_left_of_what_failed(tmp_path: Path) -> None:
    """Too large, another version, and a caller that says stop: no file remains."""
    source, back = tmp_path / "source", tmp_path / "back"
    source.write_bytes(bytes(5000))

    def stop(_count: int) -> None:
        raise InterruptedError("stop")

    with pytest.raises(LimitExceededError, match="max_upload_bytes"):
        run(fetch(address_of(source), back, SMALL, max_bytes=4999))
    with pytest.raises(SourceChangedError):
        run(fetch(address_of(source), back, SMALL, version='"another"'))
    with pytest.raises(InterruptedError):
        run(fetch(address_of(source), back, SMALL, taken=stop))
    assert not back.exists()


def test_a_file_is_never_replaced(tmp_path: Path) -> None:
    """One that is there stays as it is."""
    source, back = tmp_path / "source", tmp_path / "back"
    source.write_bytes(b"new")
    back.write_bytes(b"old")
    with pytest.raises(FileExistsError):
        run(fetch(address_of(source), back))
    assert back.read_bytes() == b"old"


def test_an_object_that_changes_is_noticed(tmp_path: Path) -> None:
    """All ranges come from one version, or from none."""
    source, back = tmp_path / "source", tmp_path / "back"
    source.write_bytes(bytes(5000))

    def change(_count: int) -> None:
        (tmp_path / "other").write_bytes(bytes(5000))
        (tmp_path / "other").replace(source)

    with pytest.raises(SourceChangedError):
        run(fetch(address_of(source), back, SMALL, taken=change))
    assert not back.exists()


def test_what_is_absent_is_said(tmp_path: Path) -> None:
    """At once, and not after all patience."""
    nowhere = address_of(tmp_path / "nowhere")
    with pytest.raises(SourceNotFoundError, match="nowhere") as error:
        run(stat(nowhere))
    assert error.value.address == str(nowhere)
    with pytest.raises(SourceNotFoundError):
        run(fetch(nowhere, tmp_path / "back"))
    assert run(listing(nowhere)) == []
    run(remove(nowhere))


def test_a_disk_is_not_waited_for(tmp_path: Path) -> None:
    """A place where nothing can be written is refused at once."""
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "source").write_bytes(bytes(5000))
    with pytest.raises(StoreUnavailableError) as error:
        run(put(tmp_path / "source", address_of(tmp_path / "file" / "below"), SMALL))
    assert error.value.reason == "refused"


def test_one_of_many_creates(tmp_path: Path) -> None:
    """Of eight who race, one is told that it won, and its bytes are there."""

    async def race() -> list[bool]:
        return await asyncio.gather(
            *(create(b"%d" % number, address_of(tmp_path / "key")) for number in range(8))
        )

    won = run(race())
    assert won.count(True) == 1
    assert (tmp_path / "key").read_bytes() == b"%d" % won.index(True)
    run(remove(address_of(tmp_path / "key")))
    assert not (tmp_path / "key").exists()


def test_a_folder_is_listed(tmp_path: Path) -> None:
    """With all folders below it, by name; a folder that only begins alike is another."""
    for name in ("models/b.pt", "models/a/c d.pt", "models/a/b/e.pt", "models2/f.pt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    found = run(listing(address_of(tmp_path / "models")))
    assert [each.name for each in found] == ["a/b/e.pt", "a/c d.pt", "b.pt"]
    each: Listed = found[1]
    assert each.address == address_of(tmp_path / "models" / "a" / "c d.pt")
    assert each.version == run(stat(each.address)).version
    assert run(fetch(each.address, tmp_path / "back")).size_bytes == each.size_bytes == 15


def test_a_listing_may_be_limited(tmp_path: Path) -> None:
    """A bucket may have any number of objects, and all are in memory."""
    for number in range(3):
        (tmp_path / f"{number}.pt").touch()
    assert len(run(listing(address_of(tmp_path), max_files=3))) == 3
    with pytest.raises(LimitExceededError) as caught:
        run(listing(address_of(tmp_path), max_files=2))
    assert (caught.value.limit, caught.value.allowed) == ("max_files", 2)


@pytest.mark.parametrize("text", ["s3://bucket/folder/", "https://host/"])
def test_a_folder_is_no_object(text: str, tmp_path: Path) -> None:
    """It can be neither read nor written as one."""
    (tmp_path / "source").write_bytes(b"")
    with pytest.raises(AddressError):
        run(stat(Address.parse(text)))
    with pytest.raises(AddressError):
        run(put(tmp_path / "source", Address.parse(text)))


def test_https_is_only_read(tmp_path: Path) -> None:
    """A web server has no folders, and takes nothing."""
    address = Address.parse("https://host/a.pt?signature=secret")
    (tmp_path / "source").write_bytes(b"")
    works = (
        lambda: listing(address),
        lambda: put(tmp_path / "source", address),
        lambda: create(b"", address),
        lambda: remove(address),
    )
    for work in works:
        with pytest.raises(AddressError) as error:
            run(work())
        assert "secret" not in str(error.value)
