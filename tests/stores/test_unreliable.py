"""Nothing is lost and nothing is half visible, whatever the network does."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from convlast.errors import StoreUnavailableError
from convlast.stores.address import Address
from convlast.stores.reading import fetch, listing, stat
from convlast.stores.writing import create, put
from tests.stores.quick import IMPATIENT, MIB, QUICK, run
from tests.stores.servers import Server
from tests.stores.unreliable import Fault, Unreliable, later

SLOW = replace(QUICK, timeout_s=2)


def there_and_back(source: Path, address: Address, tmp_path: Path) -> None:
    """Put a file and fetch it again, and compare."""
    run(put(source, address, QUICK))
    fetched = run(fetch(address, tmp_path / "back", QUICK))
    content = source.read_bytes()
    assert (tmp_path / "back").read_bytes() == content
    assert fetched.sha256 == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_server_in_trouble_is_asked_again(
    network: Unreliable, remote: Address, source: Path, tmp_path: Path, status: int
) -> None:
    """Every other request is answered with a fault; all arrives."""
    network.faults.extend(
        [Fault("status", status), Fault("cut", 100_000_000)] * (20 if status != 429 else 0)
    )
    if status == 429:
        network.faults.extend([Fault("status", status, b"GET"), Fault("status", 429, b"HEAD")] * 2)
    there_and_back(source, remote.child("a.pt"), tmp_path)


@pytest.mark.parametrize("after", [0, 50, 1_000_000])
def test_a_cut_line_is_taken_up_again(
    network: Unreliable, remote: Address, source: Path, tmp_path: Path, after: int
) -> None:
    """Ranges go on where they were cut, and parts are sent again."""
    network.faults.extend([Fault("cut", after)] * 12)
    there_and_back(source, remote.child("a.pt"), tmp_path)


@pytest.mark.parametrize("request_line", [b"POST", b"PUT", b"HEAD", b"GET"])
def test_a_lost_answer_is_asked_for_again(
    network: Unreliable, remote: Address, source: Path, tmp_path: Path, request_line: bytes
) -> None:
    """The server has done what it was asked, and is asked to do so again."""
    network.faults.extend([Fault("lost", only=request_line)] * 2)
    there_and_back(source, remote.child("a.pt"), tmp_path)
    assert not network.faults


def test_who_creates_knows_it(network: Unreliable, remote: Address) -> None:
    """One whose answer was lost is told that it won, and another one that it did not."""
    network.faults.append(Fault("lost"))
    assert run(create(b"first", remote.child("key"), QUICK))
    network.faults.append(Fault("lost"))
    assert not run(create(b"second", remote.child("key"), QUICK))


def test_one_of_many_creates_on_a_bad_line(network: Unreliable, remote: Address) -> None:
    """Of eight who race while answers are lost, one is told that it won."""

    async def race(address: Address) -> list[bool]:
        return await asyncio.gather(
            *(create(b"%d" % number, address, QUICK) for number in range(8))
        )

    for number in range(5):
        network.faults.extend([Fault("lost"), Fault("status", 503)] * 4)
        assert run(race(remote.child(f"key-{number}"))).count(True) == 1
        network.faults.clear()


def test_a_store_that_is_away_is_waited_for(
    network: Unreliable, remote: Address, source: Path, tmp_path: Path
) -> None:
    """It leaves in the middle of a transfer, each way, and comes back."""
    network.bytes_a_second = 8 * MIB
    there = remote.child("a.pt")
    with later(0.3, network.leave), later(2, network.come_back):
        run(put(source, there, QUICK))
    with later(0.3, network.leave), later(2, network.come_back):
        run(fetch(there, tmp_path / "back", QUICK))
    assert (tmp_path / "back").read_bytes() == source.read_bytes()


def test_slow_is_not_away(
    network: Unreliable, remote: Address, source: Path, tmp_path: Path
) -> None:
    """A transfer may take as long as it goes on: both take longer than the timeout."""
    network.bytes_a_second = 4 * MIB
    there = remote.child("a.pt")
    begun = time.monotonic()
    run(put(source, there, SLOW))
    assert time.monotonic() - begun > SLOW.timeout_s
    begun = time.monotonic()
    run(fetch(there, tmp_path / "back", SLOW))
    assert time.monotonic() - begun > SLOW.timeout_s
    assert (tmp_path / "back").read_bytes() == source.read_bytes()


def test_a_hundred_kilobytes_a_second_are_enough(
    network: Unreliable, remote: Address, tmp_path: Path
) -> None:
    """A small object takes longer than the timeout, each way, and arrives."""
    network.bytes_a_second = 100_000
    (tmp_path / "source").write_bytes(os.urandom(1_200_000))
    impatient = replace(IMPATIENT, timeout_s=6)
    run(put(tmp_path / "source", remote.child("a.pt"), impatient))
    run(fetch(remote.child("a.pt"), tmp_path / "back", impatient))
    assert (tmp_path / "back").read_bytes() == (tmp_path / "source").read_bytes()
    assert len([line for line in network.requests if "a.pt" in line]) == 3


def test_nothing_is_left_of_what_failed(
    network: Unreliable, remote: Address, seaweed: Server, source: Path, tmp_path: Path
) -> None:
    """A store that takes no part: no object, no part; one that sends none: no file."""
    network.faults.extend([Fault("status", 500, b"PUT")] * 1000)
    with pytest.raises(StoreUnavailableError) as error:
        run(put(source, remote.child("a.pt"), IMPATIENT))
    assert error.value.reason == "failing"
    network.faults.clear()
    assert seaweed.unfinished(remote) == 0
    assert run(listing(remote)) == []
    run(put(source, remote.child("b.pt"), QUICK))
    network.faults.extend([Fault("status", 503, b"GET")] * 1000)
    with pytest.raises(StoreUnavailableError) as error:
        run(fetch(remote.child("b.pt"), tmp_path / "back", IMPATIENT))
    assert error.value.details["status"] == 503
    assert not (tmp_path / "back").exists()


@pytest.mark.parametrize("status", [400, 401, 403, 301])
def test_a_refusal_is_final(network: Unreliable, remote: Address, status: int) -> None:
    """It is told at once: asked again, a store would refuse again."""
    network.always = Fault("status", status)
    with pytest.raises(StoreUnavailableError) as error:
        run(stat(remote.child("a.pt"), QUICK))
    assert error.value.reason == ("credentials" if status in {401, 403} else "refused")
    assert len(network.requests) == 1
