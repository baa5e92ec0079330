"""A sealed worker can do nothing of what hostile code would do."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.service.sandbox import attacks
from tests.service.sandbox.sandboxed import Outcome, needs_landlock, needs_seccomp, run_inside

Attack = Callable[..., None]


def is_kept_out(outcome: Outcome) -> bool:
    """Return whether the system has refused; it refuses moves between folders with EXDEV."""
    return outcome.is_refused or outcome.errno == errno.EXDEV


@needs_seccomp
@pytest.mark.parametrize("attack", attacks.ON_THE_MACHINE)
def test_machine_is_out_of_reach(attack: Attack, folder: Path) -> None:
    """There is no network, no program, no new process, and nothing is left behind."""
    outcome = run_inside(attack, folder=folder)
    assert outcome.is_refused, outcome
    assert outcome.exit_code == 0


@needs_seccomp
@pytest.mark.parametrize("attack", attacks.ON_A_PROCESS)
def test_other_processes_are_out_of_reach(attack: Attack, folder: Path) -> None:
    """The service cannot be read, signalled or limited."""
    outcome = run_inside(attack, os.getpid(), folder=folder)
    assert outcome.is_refused, outcome


@needs_landlock
@needs_seccomp
@pytest.mark.parametrize("attack", attacks.ON_A_FILE)
def test_file_of_another_job_is_out_of_reach(attack: Attack, folder: Path, foreign: Path) -> None:
    """Another job's file can neither be read nor changed, although the user is the same."""
    outcome = run_inside(attack, str(foreign), folder=folder)
    assert is_kept_out(outcome), outcome
    assert foreign.read_bytes() == b"secret"


@needs_landlock
@needs_seccomp
@pytest.mark.parametrize("attack", attacks.TO_THE_OWN_FOLDER)
def test_no_file_crosses_the_folder(attack: Attack, folder: Path, foreign: Path) -> None:
    """No link or move brings a foreign file in or a file out."""
    outcome = run_inside(attack, str(foreign), str(folder), folder=folder)
    assert is_kept_out(outcome), outcome
    assert [path.name for path in foreign.parent.iterdir()] == ["secret.pt"]
    assert {path.name for path in folder.iterdir()} <= {"own"}


@needs_landlock
@needs_seccomp
@pytest.mark.parametrize("attack", attacks.ON_THE_INPUT)
def test_the_input_is_not_changed(attack: Attack, folder: Path, given: Path) -> None:
    """The worker's own checkpoint can be read, but neither changed nor removed."""
    assert run_inside(attacks.read_a_file, str(given), folder=folder).error is None
    outcome = run_inside(attack, str(given), folder=folder)
    assert outcome.is_refused, outcome
    assert given.read_bytes() == b"given"


@needs_landlock
@needs_seccomp
@pytest.mark.parametrize("attack", attacks.AROUND_THE_INPUT)
def test_the_folder_of_the_input_stays_as_it_is(attack: Attack, folder: Path, given: Path) -> None:
    """The checkpoint is not replaced, moved or linked, and nothing is made beside it."""
    outcome = run_inside(attack, str(given), str(folder), folder=folder)
    assert is_kept_out(outcome), outcome
    assert given.read_bytes() == b"given"
    assert given.stat().st_nlink == 1
    assert [path.name for path in given.parent.iterdir()] == ["upload"]


@needs_landlock
@pytest.mark.parametrize(
    "path",
    [
        *("/etc/passwd", "/etc/shadow", "/etc/hostname", "/proc/1/cmdline"),
        *(f"/proc/{os.getpid()}/{name}" for name in ("environ", "mem", "maps", "cmdline")),
    ],
)
def test_file_of_the_machine_is_out_of_reach(path: str, folder: Path) -> None:
    """System files and the service's memory cannot be read."""
    outcome = run_inside(attacks.read_a_file, path, folder=folder)
    assert outcome.is_refused, outcome


@needs_landlock
@pytest.mark.parametrize("path", ["/", "/etc", "/tmp", "/proc", "/dev/shm", str(Path.home())])  # noqa: S108
def test_folder_of_the_machine_is_out_of_reach(path: str, folder: Path) -> None:
    """System folders cannot be listed."""
    outcome = run_inside(attacks.list_a_folder, path, folder=folder)
    assert outcome.is_refused, outcome


@needs_landlock
@pytest.mark.parametrize("attack", [attacks.change_a_library, attacks.fill_the_shared_memory])
def test_nothing_is_left_for_the_next_worker(attack: Attack, folder: Path) -> None:
    """Libraries and the shared memory cannot be written."""
    outcome = run_inside(attack, folder=folder)
    assert outcome.is_refused, outcome


@needs_landlock
@needs_seccomp
def test_no_device_is_made(folder: Path) -> None:
    """A device node cannot be made even in the worker's own folder."""
    outcome = run_inside(attacks.make_a_device, str(folder), folder=folder)
    assert outcome.is_refused, outcome


def change_mode(path: str) -> int:
    """Change the mode of a file, as far as this process can see."""
    os.utime(path, (0, 0))
    os.chmod(path, 0)  # noqa: PTH101
    return os.stat(path).st_mode & 0o777  # noqa: PTH116


@needs_seccomp
def test_modes_and_times_stay(folder: Path, foreign: Path, given: Path) -> None:
    """A change of mode or time, which Landlock does not cover, does nothing."""
    for file in (foreign, given):
        mode = file.stat().st_mode & 0o777
        assert run_inside(change_mode, str(file), folder=folder).value == mode
        assert file.stat().st_mtime > time.time() - 600
