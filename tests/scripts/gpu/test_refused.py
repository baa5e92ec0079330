"""What strace saw, summed up."""

from __future__ import annotations

from scripts.gpu.refused import refusals_in

LINES = [
    '17 openat(AT_FDCWD, "/proc/17/task/18/comm", O_RDWR|O_CLOEXEC) = -1 EACCES',
    '19 openat(AT_FDCWD, "/proc/19/task/20/comm", O_RDWR|O_CLOEXEC) = -1 EACCES',
    "17 socket(AF_UNIX, SOCK_STREAM, 0) = -1 EPERM",
    '17 openat(AT_FDCWD, "/dev/nvidia-modeset", O_RDWR) = -1 ENOENT',
    '17 openat(AT_FDCWD, "/usr/lib/libnothing.so", O_RDONLY) = -1 ENOENT',
    "17 --- SIGCHLD {si_signo=SIGCHLD} ---",
]


def test_refusals_are_counted_by_kind() -> None:
    """Whichever process it was."""
    assert refusals_in(LINES).refused == {
        "EACCES  openat(/proc/N/task/N/comm, O_RDWR|O_CLOEXEC)": 2,
        "EPERM   socket(AF_UNIX, SOCK_STREAM, 0)": 1,
    }


def test_absent_devices_are_told_and_absent_libraries_are_not() -> None:
    """The linker looks for those everywhere."""
    assert refusals_in(LINES).absent == {"ENOENT  openat(/dev/nvidia-modeset, O_RDWR)": 1}


def test_a_kind_is_shown_three_times() -> None:
    """As it came, so that its arguments can be read."""
    assert len(refusals_in([LINES[2]] * 9).lines) == 3
    assert list(refusals_in([LINES[2]]).told()) == [
        "== refused",
        "     1 EPERM   socket(AF_UNIX, SOCK_STREAM, 0)",
        "== absent",
        "== refused, as it came, the first 3 of each",
        LINES[2],
    ]
