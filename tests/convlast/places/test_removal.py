"""A folder goes whatever lies in it, and nothing else does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from convlast.places import removal
from convlast.places.removal import remove_tree

DEPTH, NAME = 1100, 8 * "d"
NOBODY = 65534


def dig(folder: Path, depth: int) -> None:
    """Make folders in each other, with a file in each; their path is longer than a path can be."""
    descriptor = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor))
        os.mkdir(NAME, dir_fd=descriptor)
        below = os.open(NAME, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(descriptor)


def names_in(folder: Path) -> list[str]:
    """Name what is in a folder."""
    return [path.name for path in folder.iterdir()]


def deep(folder: Path) -> None:
    """Put in folders that no path can name."""
    dig(folder, DEPTH)


def wide(folder: Path) -> None:
    """Put in many folders, each with a file and a folder."""
    for number in range(300):
        (folder / str(number) / "inner").mkdir(parents=True)
        (folder / str(number) / "file").write_bytes(b"x")


def odd(folder: Path) -> None:
    """Put in what is neither file nor folder, and names that are no text."""
    os.mkfifo(folder / "pipe")
    (folder / "link").symlink_to("nowhere")
    (folder / os.fsdecode(b"\xff\xfe")).mkdir()
    (folder / "-rf *").mkdir()
    (folder / "\n").write_bytes(b"")


@pytest.mark.parametrize("fill", [deep, wide, odd, lambda folder: None])
def test_all_of_it_goes(fill: Callable[[Path], None], tmp_path: Path) -> None:
    """However deep, wide or odd; and what lies beside it stays."""
    (tmp_path / "beside").write_text("stays")
    (tmp_path / "gone").mkdir()
    fill(tmp_path / "gone")
    assert remove_tree(tmp_path / "gone")
    assert names_in(tmp_path) == ["beside"]


def test_a_file_or_nothing_goes_as_well(tmp_path: Path) -> None:
    """What is not there is gone."""
    (tmp_path / "file").write_bytes(b"x")
    for path in (tmp_path / "file", tmp_path / "file", tmp_path / "no" / "such"):
        assert remove_tree(path)
    assert not names_in(tmp_path)


@pytest.mark.parametrize("where", ["top", "top/below/link"])
def test_what_a_link_leads_to_stays(where: str, tmp_path: Path) -> None:
    """In the place of the folder, and in it."""
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("stays")
    (tmp_path / where).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / where).symlink_to(tmp_path / "other")
    assert remove_tree(tmp_path / "top")
    assert names_in(tmp_path) == ["other"]
    assert (tmp_path / "other" / "file").read_text() == "stays"


def test_a_link_that_takes_a_folders_place_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at it and the step into it."""
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("stays")
    (tmp_path / "top" / "inner").mkdir(parents=True)
    unlink = os.unlink

    def exchange(name: str, *, dir_fd: int) -> None:
        try:
            unlink(name, dir_fd=dir_fd)
        except IsADirectoryError:
            if name == "inner":
                os.rmdir(name, dir_fd=dir_fd)
                os.symlink(tmp_path / "other", name, dir_fd=dir_fd)
            raise

    monkeypatch.setattr(os, "unlink", exchange)
    assert remove_tree(tmp_path / "top")
    assert (tmp_path / "other" / "file").read_text() == "stays"


@pytest.mark.parametrize("is_stubborn", [False, True])
def test_what_appears_meanwhile_goes_within_a_few_rounds(
    is_stubborn: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What appears again and again is left, and that is told; nothing is raised."""
    (tmp_path / "top").mkdir()
    appeared = 0
    rmdir = os.rmdir

    def appear(name: str, *, dir_fd: int) -> None:
        nonlocal appeared
        if is_stubborn or not appeared:
            (tmp_path / "top" / str(appeared)).write_bytes(b"x")
            appeared += 1
        rmdir(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "rmdir", appear)
    assert remove_tree(tmp_path / "top") != is_stubborn
    assert (tmp_path / "top").exists() == is_stubborn
    assert 1 <= appeared <= 3


def test_where_no_descriptor_is_left_nothing_is_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stays then, and that is told."""
    monkeypatch.setattr(os, "open", _refuse)
    assert not remove_tree(tmp_path)


def _refuse(*arguments: object, **more: object) -> int:
    raise OSError(24, "Too many open files")


def test_folders_without_rights_go(tmp_path: Path) -> None:
    """Whoever owns a folder can give themselves the rights that it takes to remove it."""
    tmp_path.chmod(0o777)
    program = (
        "import os, pathlib, sys\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from convlast.places.removal import remove_tree\n"
        f"os.geteuid() or (os.setgid({NOBODY}), os.setuid({NOBODY}))\n"
        "top = pathlib.Path('top')  # nobody may go the way that leads here\n"
        "for mode in (0o000, 0o400, 0o100, 0o500, 0o200):\n"
        "    inner = top / 'a' / f'{mode}'\n"
        "    (inner / 'b' / 'c').mkdir(parents=True)\n"
        "    (inner / 'file').touch()\n"
        "    (inner / 'b').chmod(mode)\n"
        "    inner.chmod(mode)\n"
        "(top / 'a').chmod(0)\n"
        "top.chmod(0)\n"
        "sys.exit(not remove_tree(top) or top.exists())\n"
    )
    source = Path(removal.__file__).parents[2]
    subprocess.run([sys.executable, "-c", program, source], check=True, cwd=tmp_path)


def test_another_file_system_is_not_entered(tmp_path: Path) -> None:
    """What is mounted there is not the folder's; it stays, and that is told."""
    mounted = tmp_path / "top" / "mounted"
    mounted.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "tmpfs", str(mounted)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        (mounted / "file").write_text("stays")
        (tmp_path / "top" / "other").mkdir()
        assert not remove_tree(tmp_path / "top")
        assert names_in(tmp_path / "top") == ["mounted"]
        assert (mounted / "file").read_text() == "stays"
    finally:
        subprocess.run(["umount", mounted], check=True)
