"""The manifest, found in either kind of file."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from convlast.checkpoints import manifest
from convlast.checkpoints.guard.zip_directory import read_directory
from convlast.options import Limits

NOTE = manifest.Manifest(memory_format="channels_last_3d", layers=())


def archive_with(path: Path, content: bytes | None, method: int) -> Path:
    """Write an archive that has a manifest, or none."""
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("root/data.pkl", b"")
        if content is not None:
            archive.writestr(f"root/{manifest.MEMBER}", content)
    return path


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (NOTE.encode(), NOTE),
        (None, None),
        (b"no manifest", None),
        (b" " * manifest.MAX_BYTES + NOTE.encode(), None),
    ],
    ids=["there", "absent", "other bytes", "too large"],
)
def test_it_is_found_in_an_archive(
    content: bytes | None, expected: manifest.Manifest | None, method: int, tmp_path: Path
) -> None:
    """Stored or compressed; other bytes in its place are none."""
    path = archive_with(tmp_path / "a.pt", content, method)
    assert manifest.in_archive(read_directory(path, Limits(), is_program=True)) == expected


def test_a_large_one_is_not_even_read(tmp_path: Path) -> None:
    """Its size is known from the directory."""
    path = archive_with(tmp_path / "a.pt", bytes(manifest.MAX_BYTES + 1), zipfile.ZIP_STORED)
    archive = read_directory(path, Limits(max_pickle_bytes=1))
    assert manifest.in_archive(archive) is None


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"convlast": NOTE.encode().decode(), "format": "pt"}, NOTE),
        ({"format": "pt"}, None),
        ({"convlast": 7}, None),
        ({"convlast": "nothing"}, None),
    ],
)
def test_it_is_found_in_metadata(
    metadata: dict[str, object], expected: manifest.Manifest | None
) -> None:
    """Anyone can put anything there."""
    assert manifest.in_metadata(metadata) == expected
