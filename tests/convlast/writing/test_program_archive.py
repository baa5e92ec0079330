"""The archive of a converted program, as a zip file."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import convlast
from convlast.options import Options

pytestmark = pytest.mark.filterwarnings("ignore")  # torch.jit is deprecated, and says so

jit: Any = torch.jit


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    """A converted program."""
    jit.save(jit.script(nn.Sequential(nn.Conv3d(3, 5, 3), nn.Conv3d(5, 2, 1))), tmp_path / "a.pt")
    target = tmp_path / "b.pt"
    convlast.convert(tmp_path / "a.pt", target, Options(smoke="none"), allow_programs=True)
    return target


def test_stored_bytes_are_aligned(artifact: Path) -> None:
    """The bytes of each stored member begin at a multiple of 64, as torch's own do."""
    data = artifact.read_bytes()
    with zipfile.ZipFile(artifact) as archive:
        stored = [entry for entry in archive.infolist() if entry.filename.startswith("a/data/")]
    assert len(stored) == 4
    for entry in stored:
        name, extra = struct.unpack_from("<HH", data, entry.header_offset + 26)
        assert (entry.header_offset + 30 + name + extra) % 64 == 0


def test_it_is_a_sound_zip_file(artifact: Path) -> None:
    """Every CRC is right, sizes stand in front of the bytes, and no date is of today."""
    with zipfile.ZipFile(artifact) as archive:
        assert archive.testzip() is None
        entries = archive.infolist()
    assert not any(entry.flag_bits & 0x08 for entry in entries)
    assert {entry.date_time[0] for entry in entries} == {1980}
