"""Model folders in stores, as the service fetches and delivers them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from convlast.errors import AddressNotAllowedError, SourceChangedError
from convlast.progress import silent
from convlast.stores.address import Address
from convlast.stores.reading import fetch, listing
from convlast.stores.writing import put
from service.transfers.packed_folder import PackedFolder
from service.transfers.packing import members_in
from service.transfers.unpacked_folder import UnpackedFolder, refuse_mixture
from tests.stores.quick import MIB, QUICK, run
from tests.stores.servers import Server

FILES = {
    "config.json": b"{}",
    "empty.txt": b"",
    "é/model-00001-of-00001.bin": os.urandom(11 * MIB),
    "é/model.bin.index.json": b'{"weight_map": {}}',
}


async def look(folder: Address) -> PackedFolder:
    """Look at a folder that is allowed."""
    return await PackedFolder.look(folder, [folder.text], QUICK, max_files=100)


@pytest.fixture
def source(folder: Address, server: Server, tmp_path: Path) -> Address:
    """Put a model folder into a store, with the empty objects by which consoles mark folders."""
    there = folder.child("source/")
    for name, content in FILES.items():
        (tmp_path / "file").write_bytes(content)
        run(put(tmp_path / "file", there.child(name), QUICK))
    for marked in (there, folder.child("source/é/"), folder.child("made/")):
        answer = httpx.put(f"{server.endpoint}/{marked.root}/{marked.key}")
        assert answer.status_code == 200
    return there


def test_a_folder_is_one_tar_on_its_way(folder: Address, source: Address, tmp_path: Path) -> None:
    """What was put is fetched, in the versions that were listed, and is put once more."""
    found = run(look(source))
    assert found.version
    run(found.fetch(tmp_path / "tar", QUICK, silent))
    whole = (tmp_path / "tar").read_bytes()
    members = members_in(tmp_path / "tar", FILES)
    assert {m.name: whole[m.place.start : m.place.stop] for m in members} == FILES
    (tmp_path / "report.json").write_bytes(b"{}")
    made = UnpackedFolder(
        source=tmp_path / "tar",
        made=tmp_path / "tar",
        reports={".report.json": tmp_path / "report.json"},
        digests=tmp_path / "digests",
        stated=lambda digests: {},
        statements=[".provenance.json"],
    )
    place = folder.child("made/")
    for _ in range(2):  # the second time its own files are there
        run(refuse_mixture(place, [*FILES], QUICK))
        run(made.put(place, QUICK, silent))
    there = {each.name: each.address for each in run(listing(place))}
    assert there.keys() == FILES.keys()
    for number, (name, content) in enumerate(FILES.items()):
        run(fetch(there[name], tmp_path / f"{number}", QUICK))
        assert (tmp_path / f"{number}").read_bytes() == content
    assert {each.name for each in run(listing(folder))} >= {"made.report.json", "made.sha256"}
    with pytest.raises(AddressNotAllowedError, match="mixed"):
        run(refuse_mixture(place, [*FILES][1:], QUICK))


def test_a_file_that_changes_is_noticed(source: Address, tmp_path: Path) -> None:
    """Also between the look at the folder and the download; nothing is left of this."""
    found = run(look(source))
    (tmp_path / "other").write_bytes(b"[]")
    run(put(tmp_path / "other", source.child("config.json"), QUICK))
    with pytest.raises(SourceChangedError):
        run(found.fetch(tmp_path / "tar", replace(QUICK, parallel=1), silent))
    assert not (tmp_path / "tar").exists()
    assert run(look(source)).version != found.version
