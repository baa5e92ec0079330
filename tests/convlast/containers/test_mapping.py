from __future__ import annotations

import mmap
from pathlib import Path

import pytest
import torch

from convlast.containers import mapping
from convlast.containers.mapping import UNKNOWN, Mapping

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/maps").exists(), reason="no /proc/self/maps here"
)


def test_the_place_of_mapped_memory_is_known(tmp_path: Path) -> None:
    """With the first byte, the last one, and whatever is in the file's name."""
    path = tmp_path / "a file (deleted) of three pages.pt"
    path.write_bytes(bytes(3 * mmap.PAGESIZE))
    storage = torch.UntypedStorage.from_file(str(path), shared=False, nbytes=3 * mmap.PAGESIZE)
    known = Mapping(path)
    assert known.offset_of(storage.data_ptr()) == 0
    assert known.offset_of(storage[5:9].data_ptr()) == 5
    assert known.offset_of(storage.data_ptr() + 3 * mmap.PAGESIZE - 1) == 3 * mmap.PAGESIZE - 1


def test_memory_of_no_file_or_of_another_one_is_unknown(tmp_path: Path) -> None:
    """A name that only ends alike is another one."""
    path, other = tmp_path / "model.pt", tmp_path / "other model.pt"
    other.write_bytes(bytes(mmap.PAGESIZE))
    storage = torch.UntypedStorage.from_file(str(other), shared=False, nbytes=mmap.PAGESIZE)
    assert Mapping(path).offset_of(storage.data_ptr()) == UNKNOWN
    assert Mapping(other).offset_of(torch.zeros(4).data_ptr()) == UNKNOWN
    assert Mapping(other).offset_of(0) == UNKNOWN


def test_parts_of_a_file_may_lie_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each area of memory has its own offset."""
    path = (tmp_path / "model.pt").resolve()
    maps = tmp_path / "maps"
    maps.write_text(
        f"7f10-7f20 r--p 00000100 08:01 42    {path}\n"
        f"7f20-7f30 rw-p 00000000 00:00 0\n"
        f"7f30-7f40 r--s 00000500 08:01 42    {path}\n"
        f"7f40-7f50 r--s 00000600 08:01 42    {path}2\n"
    )
    monkeypatch.setattr(mapping, "_MAPS", maps)
    known = Mapping(path)
    found = [known.offset_of(address) for address in (0x7F0F, 0x7F10, 0x7F1F, 0x7F20, 0x7F31)]
    assert found == [UNKNOWN, 0x100, 0x10F, UNKNOWN, 0x501]
    assert known.offset_of(0x7F40) == UNKNOWN
