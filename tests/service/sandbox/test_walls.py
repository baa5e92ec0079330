"""Each wall by itself: what it forbids, and how its absence is reported."""

from __future__ import annotations

import ctypes
import errno
import os
import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from service.sandbox import environment, landlock, limits, privileges
from tests.service.sandbox.sandboxed import MAX_FILE_BYTES, needs_landlock, run_inside

ROOT = Path(__file__).parents[3]
SECRETS = {"AWS_SECRET_ACCESS_KEY": "hunter2", "CONVLAST_API_KEYS_FILE": "hunter2"}
HARMLESS = {"OMP_NUM_THREADS": "2", "LC_ALL": "C.UTF-8"}


def run_script(script: str) -> str:
    """Run a script in a process of its own, and return its output."""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"PATH": "/usr/bin", "PYTHONPATH": str(ROOT), **SECRETS, **HARMLESS},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout


def test_secrets_leave_the_environment() -> None:
    """Neither Python, C, the kernel nor a child process shows the secrets afterwards."""
    script = """
import ctypes, os, subprocess
from service.sandbox import scrub_environment
part = scrub_environment({"HOME": "/nowhere"})
getenv = ctypes.CDLL(None).getenv
getenv.restype = ctypes.c_char_p
print(part.held, dict(os.environ), getenv(b"AWS_SECRET_ACCESS_KEY"), getenv(b"OMP_NUM_THREADS"))
print(open("/proc/self/environ").read().replace(chr(0), ""))
print(subprocess.run(["env"], capture_output=True, text=True, check=True).stdout)
"""
    told = run_script(script)
    assert told.startswith("True")
    assert "hunter2" not in told
    assert "None b'2'" in told
    assert "HOME=/nowhere" in told


def test_environment_that_cannot_be_found_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the kernel's copy cannot be found, the wall is missing and harmless variables stay."""
    before = dict(os.environ)

    def hide() -> tuple[int, int]:
        raise ValueError

    monkeypatch.setattr(environment, "_first_copy", hide)
    try:
        assert not environment.scrub_environment().held
        assert os.environ["PATH"] == before["PATH"]
    finally:
        os.environ.update(before)


def open_files() -> list[str]:
    """Return the open files other than the standard ones."""
    numbers = [int(link.name) for link in Path("/proc/self/fd").iterdir()]
    links = [Path(f"/proc/self/fd/{number}") for number in numbers if number > 2]
    return [str(link.readlink()) for link in links if link.is_symlink()]


def test_inherited_files_are_let_go(folder: Path) -> None:
    """Only the pipe and the entries of the rules stay open, and nothing of the fork server."""
    found = run_inside(open_files, folder=folder).value
    others = [target for target in found if not target.startswith(("/proc/", os.devnull))]
    assert [target.partition(":")[0] for target in others] == ["socket"], found


def use_standard_files() -> str:
    """Read from the standard input, and write to the standard outputs."""
    os.write(1, b"one ")
    os.write(2, b"two")
    return os.read(0, 1).decode()


def test_standard_files_are_its_own(folder: Path) -> None:
    """The standard input is empty, and output goes to the worker's file, not to the log."""
    outcome = run_inside(use_standard_files, folder=folder)
    assert outcome.value == ""
    assert outcome.printed.endswith("one two")


def privileges_of_threads() -> list[str]:
    """Return the capabilities of each thread, and whether it can gain any."""
    found = [path.read_text() for path in Path("/proc/self/task").glob("*/status")]
    pattern = r"(?:CapPrm|CapEff|CapInh|CapAmb|NoNewPrivs):\s+(\w+)"
    return [" ".join(re.findall(pattern, text)) for text in found]


def test_no_privilege_is_left(folder: Path) -> None:
    """No thread has a capability, even if the service runs as root."""
    found = run_inside(privileges_of_threads, folder=folder).value
    assert set(found) == {" ".join(["0" * 16] * 4 + ["1"])}


def test_kept_capabilities_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """If capabilities cannot be dropped, the wall is missing and its detail says why."""

    def refuse(*_: int) -> int:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(privileges, "prctl", refuse)
    detail = "Capabilities cannot be dropped: Operation not permitted."
    assert privileges.drop_privileges().detail == detail
    assert not privileges.hide_memory().held


def limits_and_dumps() -> list[Any]:
    """Return the limits, and whether this process may be dumped."""
    names = (resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE, resource.RLIMIT_CORE)
    return [*(resource.getrlimit(name) for name in names), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)]


def test_limits_are_set_for_good(folder: Path) -> None:
    """Soft and hard limits are equal, and no core is dumped."""
    found = run_inside(limits_and_dumps, folder=folder).value
    assert found == [[MAX_FILE_BYTES] * 2, [limits.MAX_OPEN_FILES] * 2, [0, 0], 0]


def test_limits_that_cannot_be_set_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """If limits cannot be set, the wall is missing and its detail says why."""

    def refuse(*_: object) -> None:
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(resource, "setrlimit", refuse)
    part = limits.set_limits(max_file_bytes=1)
    assert not part.held
    assert "not allowed" in part.detail


def test_worker_ends_with_the_process_that_forked_it() -> None:
    """If the fork server is killed, the processes that it has forked end."""
    script = """
import os, time
from service.sandbox.limits import set_limits
alive, held = os.pipe()
bound, told = os.pipe()
if os.fork() == 0:
    if os.fork() == 0:
        os.close(alive)
        set_limits(max_file_bytes=1 << 20)
        os.write(told, b"x")
        time.sleep(50)
    os.read(bound, 1)
    os._exit(0)
os.close(held)
print(os.read(alive, 1))
"""
    assert run_script(script) == "b''\n"


@needs_landlock
@pytest.mark.parametrize("version", [2, 3, 4, 5, 6])
def test_rules_are_taken_in_each_version(version: int) -> None:
    """The rules of each version are accepted by a kernel of that version."""
    if version > landlock.available_version():
        pytest.skip(f"this kernel has no Landlock {version}")
    known, ruleset = landlock._create_ruleset(version)
    os.close(ruleset)
    assert known == version


def test_kernel_that_promises_too_much_gets_less(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a kernel refuses the version that it reports, the previous one is used."""

    def refuse_signals(_number: int, attributes: int, size: int, _flags: int) -> int:
        if (ctypes.c_uint64 * (size // 8)).from_address(attributes)[2]:
            raise OSError(errno.EINVAL, "Invalid argument")
        return 77

    monkeypatch.setattr(landlock, "call", refuse_signals)
    assert landlock._create_ruleset(6) == (5, 77)


@pytest.mark.parametrize("version", [0, 1])
def test_old_kernel_is_named(version: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without Landlock, or with version 1, the walls are missing."""

    def announce(*_: int) -> int:
        if version == 0:
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")
        return version

    monkeypatch.setattr(landlock, "call", announce)
    files, truncation = landlock.close_files(tmp_path, tmp_path)
    assert (files.held, truncation.held) == (False, False)
    assert "Linux 5.19" in files.detail
    assert landlock.available_version() == version


def test_walls_that_come_too_late_are_named() -> None:
    """In a process with several threads, the walls that apply to one thread are missing."""
    script = """
import pathlib, tempfile, threading
from service.sandbox.landlock import close_files
from service.sandbox.privileges import drop_privileges
threading.Thread(target=threading.Event().wait, daemon=True).start()
parts = [drop_privileges(), *close_files(*[pathlib.Path(tempfile.mkdtemp()) for _ in range(2)])]
print([part.held for part in parts])
"""
    assert run_script(script) == "[False, False, False]\n"
