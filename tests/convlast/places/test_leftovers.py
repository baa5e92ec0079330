from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import convlast
from convlast.options import Options
from convlast.places import leftovers
from convlast.places.leftovers import temporary_tree
from convlast.places.workplace import temporary_folder
from tests import builders

ROOT = Path(__file__).parents[3]
PREFIX = ".convlast-"
QUIET = Options(smoke="none")
HERE = f"{PREFIX}{leftovers._boot_id()}-"

pytestmark = pytest.mark.skipif(not leftovers._boot_id(), reason="this kernel has no boot id")

RUN = """
import os, signal, sys
import convlast

def end(stage, done, total):
    if stage == sys.argv[3]:
        os.kill(os.getpid(), signal.SIGKILL)

convlast.convert(sys.argv[1], sys.argv[2], convlast.Options(smoke="none"), progress=end)
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a checkpoint."""
    return builders.save(builders.one_convolution(), tmp_path / "model.pt")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder to convert into."""
    path = tmp_path / "out"
    path.mkdir()
    return path


def names_in(folder: Path) -> list[str]:
    """Return what is in a folder, hidden things too."""
    return sorted(path.name for path in folder.iterdir())


def left_behind(folder: Path, name: str = f"{HERE}abcdefgh") -> Path:
    """Return a folder as a killed run leaves it, with something in it."""
    path = folder / name
    path.mkdir(mode=0o700)
    (path / "artifact").write_bytes(bytes(1000))
    return path


def test_the_next_run_removes_what_a_killed_one_left(source: Path, folder: Path) -> None:
    """A run that SIGKILL ends in the midst leaves a folder, and the next one takes it away."""
    target = folder / "model.pt"
    command = [sys.executable, "-c", RUN, str(source), str(target), "prove"]
    killed = subprocess.run(command, cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    (left,) = names_in(folder)
    assert left.startswith(HERE)
    assert names_in(folder / left)

    convlast.convert(source, target, QUIET, device="cpu")

    assert names_in(folder) == ["model.pt"]


def test_two_runs_in_one_folder_do_not_disturb_each_other(source: Path, folder: Path) -> None:
    """One begins and ends while the other is at work, and so does one in another process."""
    first, second, third = (folder / f"{name}.pt" for name in ("first", "second", "third"))
    began: list[list[str]] = []

    def another(stage: str, *_: int) -> None:
        if stage != "prove" or began:
            return
        began.append(names_in(folder))
        convlast.convert(source, second, QUIET, device="cpu")
        command = [sys.executable, "-c", RUN, str(source), str(third), "never"]
        subprocess.run(command, cwd=ROOT, check=True)
        began.append(names_in(folder))

    convlast.convert(source, first, QUIET, device="cpu", progress=another)

    (own,) = began[0]
    assert own.startswith(HERE)
    assert began[1] == [own, "second.pt", "third.pt"]
    assert names_in(folder) == ["first.pt", "second.pt", "third.pt"]
    assert first.read_bytes() == second.read_bytes() == third.read_bytes()


def test_temporary_folders_are_swept_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where temporary files lie, what a look into an archive has left."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    left_behind(tmp_path, f"convlast-{leftovers._boot_id()}-abcdefgh")
    with temporary_folder() as made:
        assert names_in(tmp_path) == [made.name]
    assert not names_in(tmp_path)


def of_another_kernel(folder: Path) -> Path:
    """Return what a run on another machine has, or had before this one started anew."""
    return left_behind(folder, f"{PREFIX}0123456789ab-abcdefgh")


def of_an_earlier_version(folder: Path) -> Path:
    """Return a folder of a run that knows of no locks."""
    return left_behind(folder, f"{PREFIX}abcdefgh")


def a_link(folder: Path) -> Path:
    """Return a link to a folder that is somebody's own."""
    own = left_behind(folder, "own")
    path = folder / f"{HERE}abcdefgh"
    path.symlink_to(own)
    return own / "artifact"


def a_file(folder: Path) -> Path:
    """Return a file of this name."""
    path = folder / f"{HERE}abcdefgh"
    path.touch()
    return path


def one_that_others_may_read(folder: Path) -> Path:
    """Return a folder that no run has made."""
    path = left_behind(folder)
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    "make",
    [of_another_kernel, of_an_earlier_version, a_link, a_file, one_that_others_may_read],
)
def test_what_may_be_anothers_stays(make: Callable[[Path], Path], folder: Path) -> None:
    """Only folders whose run is dead for certain are removed."""
    before = make(folder)
    names = names_in(folder)
    with temporary_tree(beside=folder, prefix=PREFIX):
        pass
    assert names_in(folder) == names
    assert before.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give a folder away")
def test_another_users_folder_stays(folder: Path) -> None:
    """Even if this user could remove it."""
    left = left_behind(folder)
    os.chown(left, 12345, 12345)
    with temporary_tree(beside=folder, prefix=PREFIX):
        pass
    assert names_in(folder) == [left.name]


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the file system one that locks no folders."""

    def refuse(*_: object) -> None:
        raise OSError(9, "Bad file descriptor")

    monkeypatch.setattr(fcntl, "flock", refuse)


@pytest.mark.usefixtures("no_locks")
def test_a_file_system_without_locks_is_used_all_the_same(folder: Path) -> None:
    """Nothing is swept, and the run's own folder has a name that no other run judges."""
    left = left_behind(folder)
    with temporary_tree(beside=folder, prefix=PREFIX) as made:
        assert made.name.startswith(PREFIX)
        assert not made.name.startswith(HERE)
        assert len(names_in(folder)) == 2
    assert names_in(folder) == [left.name]


def test_a_system_without_locks_is_used_all_the_same(folder: Path) -> None:
    """Without the module for them, as on Windows, nothing is swept."""
    left = left_behind(folder)
    program = (
        "import sys; sys.modules['fcntl'] = None\n"
        "from pathlib import Path\n"
        "from convlast.places.leftovers import temporary_tree\n"
        f"with temporary_tree(beside=Path(sys.argv[1]), prefix={PREFIX!r}) as made:\n"
        f"    assert not made.name.startswith({HERE!r})\n"
    )
    subprocess.run([sys.executable, "-c", program, str(folder)], cwd=ROOT, check=True)
    assert names_in(folder) == [left.name]


def test_a_folder_that_is_removed_before_it_is_locked_is_made_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another run may take it for a leftover in the moment between."""
    flock, made = fcntl.flock, []

    def late(descriptor: int, how: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        made.append(path)
        if len(made) == 1:
            path.rmdir()
        if len(made) == 2:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with temporary_tree(beside=folder, prefix=PREFIX) as path:
        assert path == made[2]
        assert path.is_dir()


def test_many_runs_at_once_keep_their_folders(folder: Path) -> None:
    """Whatever the order in which they make, lock, sweep and remove."""
    lost: list[Path] = []

    def run() -> None:
        for _ in range(50):
            with temporary_tree(beside=folder, prefix=PREFIX) as path:
                (path / "artifact").touch()
                if not (path / "artifact").exists():
                    lost.append(path)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not lost
    assert not names_in(folder)


def test_a_folder_that_cannot_be_listed_is_used(folder: Path) -> None:
    """A folder into which one may write without seeing what is in it."""
    program = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from convlast.places.leftovers import temporary_tree\n"
        "os.geteuid() == 0 and os.setuid(12345)\n"  # root may list any folder
        f"with temporary_tree(beside=Path(sys.argv[1]), prefix={PREFIX!r}) as made:\n"
        "    assert made.is_dir()\n"
    )
    folder.chmod(0o333)
    for parent in folder.parents[:3]:
        parent.chmod(parent.stat().st_mode | 0o111)
    try:
        subprocess.run([sys.executable, "-c", program, str(folder)], cwd=ROOT, check=True)
    finally:
        folder.chmod(0o755)
    assert not names_in(folder)


def test_a_temporary_folder_goes_with_what_is_in_it(tmp_path: Path) -> None:
    """Also where an error ends its use."""

    def use() -> None:
        with temporary_tree(beside=tmp_path, prefix="x") as folder:
            (folder / "deep" / "down").mkdir(parents=True)
            raise ValueError("over")

    with pytest.raises(ValueError, match="over"):
        use()
    assert not names_in(tmp_path)
