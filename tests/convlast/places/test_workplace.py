from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import convlast
from convlast.errors import StorageFullError
from convlast.places import workplace
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


@pytest.mark.parametrize("in_one_step", [True, False])
def test_a_folder_takes_the_place_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_one_step: bool
) -> None:
    """The new folder is at the place, and the old one is kept beside the other's, in any system."""
    made, target = tmp_path / "work" / "made", tmp_path / "out"
    for folder, text in ((made, "new"), (target, "old")):
        folder.mkdir(parents=True)
        (folder / "file").write_text(text)
    if in_one_step:
        assert workplace._exchanged(made, target)
        assert workplace._exchanged(made, target)  # and back
    else:
        monkeypatch.setattr(workplace, "_exchanged", lambda *_: False)
    workplace.replace_folder(made, target)
    assert (target / "file").read_text() == "new"
    left = [each.read_text() for each in (tmp_path / "work").rglob("file")]
    assert left == ["old"]


def test_a_folder_that_cannot_be_moved_leaves_the_old_one(tmp_path: Path) -> None:
    """If there is no new folder, the old one stays, with its content."""
    target = tmp_path / "out"
    target.mkdir()
    (target / "file").write_text("old")
    with pytest.raises(FileNotFoundError):
        workplace.replace_folder(tmp_path / "absent", target)
    assert (target / "file").read_text() == "old"
