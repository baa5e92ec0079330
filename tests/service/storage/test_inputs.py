"""The checkpoints of jobs: shared by the jobs of an owner, and gone with the last of them."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from service.storage import inputs as inputs_module
from service.storage.inputs import InputKey, Inputs

KEY = InputKey("alice", "00" * 32)
BOBS = InputKey("bob", "00" * 32)


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    """Make the folder of checkpoints."""
    return Inputs(tmp_path / "inputs")


def upload(folder: Path, content: bytes = b"checkpoint") -> Path:
    """Write an upload."""
    path = folder / "upload"
    path.write_bytes(content)
    return path


def test_a_checkpoint_stays_until_its_last_job_lets_it_go(tmp_path: Path, inputs: Inputs) -> None:
    """Two jobs share it; the second upload of the same bytes is removed."""
    assert not inputs.hold(KEY)
    inputs.keep(KEY, upload(tmp_path))
    assert inputs.hold(KEY)
    inode = inputs.path(KEY).stat().st_ino
    inputs.keep(KEY, upload(tmp_path))
    assert not (tmp_path / "upload").exists()
    assert inputs.path(KEY).stat().st_ino == inode, "the file of the first job is not replaced"
    inputs.let_go(KEY)
    assert inputs.path(KEY).read_bytes() == b"checkpoint"
    inputs.let_go(KEY)
    assert list((tmp_path / "inputs").iterdir()) == []


def test_each_owner_has_their_own(tmp_path: Path, inputs: Inputs) -> None:
    """The same bytes of another owner are another file, whose name tells nobody's."""
    inputs.hold(KEY)
    inputs.keep(KEY, upload(tmp_path))
    assert not inputs.hold(BOBS)
    inputs.keep(BOBS, upload(tmp_path))
    names = {path.name for path in (tmp_path / "inputs").iterdir()}
    assert names == {KEY.filename, BOBS.filename}
    assert not any(word in name for name in names for word in ("alice", "bob", KEY.sha256))
    inputs.let_go(BOBS)
    assert inputs.path(KEY).is_file()


def test_a_kept_checkpoint_cannot_be_written(tmp_path: Path, inputs: Inputs) -> None:
    """Workers get a link to it, which they may only read."""
    inputs.hold(KEY)
    inputs.keep(KEY, upload(tmp_path))
    assert inputs.path(KEY).stat().st_mode & 0o777 == 0o400


def test_a_start_removes_what_no_job_holds(tmp_path: Path, inputs: Inputs) -> None:
    """A crash may have left checkpoints, and half removed ones."""
    for key in (KEY, BOBS):
        inputs.hold(key)
        inputs.keep(key, upload(tmp_path))
    (tmp_path / "inputs" / "half").write_bytes(b"half")
    again = Inputs(tmp_path / "inputs")
    again.hold(KEY)
    again.remove_others()
    assert [path.name for path in (tmp_path / "inputs").iterdir()] == [KEY.filename]


def test_a_lost_checkpoint_can_be_let_go(tmp_path: Path, inputs: Inputs) -> None:
    """If somebody has removed the file, nothing fails, and it can be kept anew."""
    inputs.hold(KEY)
    inputs.keep(KEY, upload(tmp_path))
    inputs.path(KEY).unlink()
    inputs.let_go(KEY)
    inputs.hold(KEY)
    inputs.keep(KEY, upload(tmp_path))
    assert inputs.path(KEY).is_file()


def test_bytes_and_name_are_on_disk_when_it_is_kept(
    tmp_path: Path, inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is flushed before it has its name, and then the folder, also for a second job."""
    flushed: list[str] = []

    def flush(path: Path) -> None:
        flushed.append(path.name)

    monkeypatch.setattr(inputs_module, "flush", flush)
    inputs.hold(KEY)
    inputs.keep(KEY, upload(tmp_path))
    assert flushed == ["upload", "inputs"]
    inputs.keep(KEY, upload(tmp_path))
    assert flushed[2:] == ["inputs"], "the first job may not have flushed it yet"


@pytest.mark.parametrize("call", ["fsync", "unlink"])
def test_nobody_waits_for_the_disk_of_another_upload(
    tmp_path: Path, inputs: Inputs, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Holding a checkpoint, which the event loop does, takes no time meanwhile."""
    called, may_go_on, original = threading.Event(), threading.Event(), getattr(os, call)

    def slow(*args: object, **more: object) -> None:
        called.set()
        may_go_on.wait(10)
        original(*args, **more)

    inputs.hold(KEY)
    if call == "unlink":
        inputs.keep(KEY, upload(tmp_path))
    monkeypatch.setattr(os, call, slow)
    work = inputs.let_go if call == "unlink" else inputs.keep
    args = (KEY,) if call == "unlink" else (KEY, upload(tmp_path))
    thread = threading.Thread(target=work, args=args)
    thread.start()
    assert called.wait(10)
    holding = threading.Thread(target=inputs.hold, args=(BOBS,))
    holding.start()
    holding.join(5)
    is_held = not holding.is_alive()
    may_go_on.set()
    thread.join()
    holding.join()
    assert is_held


def test_many_threads_keep_and_let_go_at_once(tmp_path: Path, inputs: Inputs) -> None:
    """Who holds a checkpoint has it, whatever other jobs do."""
    failures: list[Exception] = []

    def job(number: int) -> None:
        try:
            for _ in range(20):
                inputs.hold(KEY)
                path = tmp_path / f"upload-{number}"
                path.write_bytes(b"checkpoint")
                inputs.keep(KEY, path)
                assert inputs.path(KEY).read_bytes() == b"checkpoint"
                assert not path.exists()
                inputs.let_go(KEY)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=job, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert list((tmp_path / "inputs").iterdir()) == []
