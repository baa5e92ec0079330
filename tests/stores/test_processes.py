"""A process of its own: what it leaves when it is killed, and how much memory it takes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from convlast.errors import SourceNotFoundError
from convlast.stores.address import Address
from convlast.stores.reading import listing, stat
from convlast.stores.writing import put
from tests.stores.quick import MIB, QUICK, address_of, run
from tests.stores.servers import BUCKET, Server
from tests.stores.unreliable import Unreliable


def command(verb: str, path: Path, address: Address) -> list[str]:
    """Return the command of a transfer."""
    return [sys.executable, "-m", "tests.stores.transfers", verb, str(path), address.text]


def test_a_killed_upload_leaves_no_object(
    network: Unreliable, remote: Address, seaweed: Server, source: Path
) -> None:
    """Only hidden parts are left, for the lifecycle rule of the bucket; the next one is whole."""
    network.bytes_a_second = 4 * MIB
    there = remote.child("a.pt")
    with subprocess.Popen(command("put", source, there), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        while int(process.stdout.readline()) < 6 * MIB:
            pass
        process.kill()
    with pytest.raises(SourceNotFoundError):
        run(stat(there))
    assert run(listing(remote)) == []
    assert seaweed.unfinished(remote) == 1
    network.bytes_a_second = 0
    run(put(source, there, QUICK))
    assert run(stat(there)).size_bytes == source.stat().st_size


@pytest.mark.parametrize("verb", ["put", "fetch"])
def test_memory_is_bounded(
    seaweed: Server, environment: pytest.MonkeyPatch, tmp_path: Path, verb: str
) -> None:
    """It is that of the parts on their way, and not that of the object."""
    environment.setenv("AWS_ENDPOINT_URL", seaweed.endpoint)
    there, path = Address.parse(f"s3://{BUCKET}/large.pt"), tmp_path / "large.pt"
    with path.open("wb") as file:
        for _ in range(12):
            file.write(os.urandom(10 * MIB))
    if verb == "fetch":
        run(put(path, there, QUICK))
        path = tmp_path / "back.pt"
    done = subprocess.run(command(verb, path, there), capture_output=True, text=True, check=True)
    growth_bytes = int(done.stdout.splitlines()[-1])
    assert growth_bytes < 60 * MIB, f"{growth_bytes / MIB:.0f} MiB"  # 4 parts of 5 MiB, and tokio


def test_a_killed_copy_leaves_no_file(source: Path, tmp_path: Path) -> None:
    """A file:// address is written beside its place, and renamed."""
    with source.open("ab") as file:
        file.truncate(400 * MIB)
    there = tmp_path / "there" / "a.pt"
    with subprocess.Popen(
        command("put", source, address_of(there)), stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        while int(process.stdout.readline()) < 50 * MIB:
            pass
        process.kill()
    assert not there.exists()
    assert run(listing(address_of(there.parent))) == []
