from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import convlast
from convlast.errors import StorageFullError
from tests import builders


def test_what_cannot_be_finished_is_not_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With less room than the artifact needs, torch's writer is not even called."""
    source = builders.save(builders.a_model().state_dict(), tmp_path / "model.pt")
    usage = shutil.disk_usage(tmp_path)._replace(free=source.stat().st_size)
    monkeypatch.setattr("convlast.writing.skeleton.shutil.disk_usage", lambda _: usage)
    monkeypatch.setattr("torch.save", lambda *_: pytest.fail("it was called"))

    with pytest.raises(StorageFullError, match="Free room"):
        convlast.convert(source, tmp_path / "converted.pt")

    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]
