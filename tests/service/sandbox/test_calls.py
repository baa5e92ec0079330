"""The filter of system calls, interpreted as the kernel would run it."""

from __future__ import annotations

import errno
import re
import struct
from pathlib import Path

import pytest

from service.sandbox import calls, seccomp
from tests.service.sandbox.sandboxed import needs_seccomp, run_inside

PID = 4242
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}
ALLOWED, KILLED = "allowed", "killed"
TABLE = " ".join([*calls.REFUSED.values(), calls.IGNORED, calls.LOOKED_INTO])


def answer(machine: str, number: int, *arguments: int, architecture: int = 0) -> str:
    """Run the filter on one call, and return the kernel's answer."""
    words = struct.pack("=IIQ6Q", number, architecture or ARCHITECTURES[machine], 0, *arguments)
    program = calls.program(machine, PID)
    loaded, at = 0, 0
    while True:
        code, if_true, if_false, value = struct.unpack("=HBBI", program[at])
        at += 1
        if code == 0x20:
            (loaded,) = struct.unpack_from("=I", words, value)
        elif code == 0x06:
            return _named(value)
        else:
            holds = {0x15: loaded == value, 0x25: loaded > value, 0x45: bool(loaded & value)}
            at += if_true if holds[code] else if_false


def _named(value: int) -> str:
    kind, error = value & 0xFFFF0000, value & 0xFFFF
    if kind == 0x7FFF0000:
        return ALLOWED
    if kind == 0x80000000:
        return KILLED
    return errno.errorcode[error] if error else "ignored"


def number_of(name: str, machine: str) -> int:
    """Return the number of a call."""
    return calls.numbers(TABLE, 1 if machine == "x86_64" else 2)[name]


@pytest.fixture(params=list(ARCHITECTURES))
def machine(request: pytest.FixtureRequest) -> str:
    """Return each kind of machine that the filter supports."""
    return str(request.param)


def asked(machine: str, name: str, *arguments: int) -> str:
    """Return the answer to a call by its name."""
    padded = (*arguments, *(0,) * (6 - len(arguments)))
    return answer(machine, number_of(name, machine), *padded)


def test_calls_are_refused_ignored_or_allowed(machine: str) -> None:
    """Each table has its effect, and calls in no table are allowed."""
    column = 1 if machine == "x86_64" else 2
    for group in calls.REFUSED.values():
        for name in calls.numbers(group, column):
            assert asked(machine, name) == "EPERM", name
    for name in calls.numbers(calls.IGNORED, column):
        assert asked(machine, name) == "ignored", name
    listed = set(calls.numbers(TABLE, column).values())
    for number in set(range(calls.LAST_KNOWN)) - listed:
        assert answer(machine, number, 0, 0, 0, 0, 0, 0) == ALLOWED, number


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("clone", (0x10F00,), ALLOWED),
        ("clone", (17,), "EPERM"),
        ("clone3", (), "ENOSYS"),
        ("kill", (PID,), ALLOWED),
        ("kill", (1,), "EPERM"),
        ("kill", (2**64 - 1,), "EPERM"),
        ("tgkill", (PID, 4243), ALLOWED),
        ("tgkill", (PID + 1, 4243), "EPERM"),
        ("prlimit64", (0,), ALLOWED),
        ("prlimit64", (1,), "EPERM"),
        ("prctl", (15,), ALLOWED),
        ("prctl", (1,), "EPERM"),
        ("prctl", (0xFFFFFFFF_00000001,), "EPERM"),
        ("fcntl", (3, 3), ALLOWED),
        ("fcntl", (3, 8), "EPERM"),
        ("ioctl", (3, 0x5401), ALLOWED),
        ("ioctl", (3, 0x5412), "EPERM"),
        ("ioctl", (3, 0x1_00005412), "EPERM"),
        ("ioctl", (3, 0x80086601), ALLOWED),  # FS_IOC_GETFLAGS
        ("ioctl", (3, 0x40086602), "EPERM"),  # FS_IOC_SETFLAGS
        ("ioctl", (3, 0x401C5820), "EPERM"),  # FS_IOC_FSSETXATTR
        ("ioctl", (3, 0x40806685), "EPERM"),  # FS_IOC_ENABLE_VERITY
    ],
)
def test_calls_depend_on_arguments(
    machine: str, name: str, arguments: tuple[int, ...], expected: str
) -> None:
    """Some calls depend on an argument, of which only the lower half counts."""
    assert asked(machine, name, *arguments) == expected


def test_calls_newer_than_the_list_do_not_exist(machine: str) -> None:
    """Unknown calls, and those of the x32 table, fail with ENOSYS."""
    for number in (calls.LAST_KNOWN + 1, 0x40000000 + 59, 0xFFFFFFFF):
        assert answer(machine, number, 0, 0, 0, 0, 0, 0) == "ENOSYS"


def test_calls_of_another_architecture_end_the_process(machine: str) -> None:
    """A 32-bit call, which has another number, kills the process."""
    assert answer(machine, 1, 0, 0, 0, 0, 0, 0, architecture=0x40000003) == KILLED


def test_numbers_are_those_of_the_kernel(machine: str) -> None:
    """The tables agree with the kernel's headers, as far as those are new enough."""
    if not HEADERS[machine].exists():
        pytest.skip(f"no kernel headers for {machine} on this machine")
    pattern = r"#define __NR(?:3264)?_(\w+)\s+(\d+)"
    theirs = {name: int(n) for name, n in re.findall(pattern, HEADERS[machine].read_text())}
    column = 1 if machine == "x86_64" else 2
    ours = calls.numbers(TABLE, column)
    newest = max(number for number in theirs.values() if number < 1000)
    assert {name: number for name, number in ours.items() if number <= newest} == {
        name: theirs[name] for name, number in ours.items() if number <= newest
    }
    assert not (set(calls.numbers(TABLE, 3 - column)) - set(ours)) & set(theirs)


def statuses() -> list[str]:
    """Return the seccomp state of each thread of this process."""
    found = [path.read_text() for path in Path("/proc/self/task").glob("*/status")]
    return [re.findall(r"Seccomp:\s+(\d)", text)[0] for text in found]


@needs_seccomp
def test_filter_binds_threads_of_the_warm_up(folder: Path) -> None:
    """The filter applies to threads that were started before."""
    found = run_inside(statuses, folder=folder).value
    assert set(found) == {"2"}


def test_unknown_machine_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """On an unknown machine the wall is missing, and its detail says why."""
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    part = calls.close_calls()
    assert not part.held
    assert "riscv64" in part.detail


def test_kernel_without_filters_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the kernel refuses a filter, the wall is missing and its detail says why."""

    def refuse(*_: object) -> int:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(seccomp, "call", refuse)
    part = calls.close_calls()
    assert not part.held
    assert part.detail == "The kernel refuses a filter of system calls: Invalid argument."
