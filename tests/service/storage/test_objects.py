"""What holds for every store of objects."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from convlast.stores.address import Address
from service.storage.bucket import Bucket
from service.storage.folder import Folder
from service.storage.objects import Objects


@pytest.fixture(params=["folder", "bucket"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Objects:
    """Make a store of each kind."""
    if request.param == "folder":
        return Folder(tmp_path / "objects")
    return Bucket(Address.parse(f"file://{tmp_path}/objects/"))


def test_one_of_many_writers_is_the_first(objects: Objects) -> None:
    """Threads that write the same key at once agree on the winner."""
    winners: list[str] = []
    barrier = threading.Barrier(8)

    def write(text: str) -> None:
        barrier.wait()
        if objects.create("job/end.json", text):
            winners.append(text)

    threads = [threading.Thread(target=write, args=(str(number),)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(winners) == 1
    assert objects.read("job/end.json") == winners[0].encode()
