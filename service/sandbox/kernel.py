"""System calls for which Python has no function. Only this module calls libc directly."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_libc.prctl.restype = ctypes.c_int


def call(number: int, *arguments: int) -> int:
    """Make a system call.

    Raises:
        OSError: If the kernel refuses.
    """
    # Each argument fills a whole register; ctypes would pass a Python int as half of one.
    return _checked(_libc.syscall(*map(ctypes.c_long, (number, *arguments))))


def prctl(option: int, value: int) -> int:
    """Set an attribute of this thread or process.

    Raises:
        OSError: If the kernel refuses.
    """
    return _checked(_libc.prctl(ctypes.c_int(option), *map(ctypes.c_ulong, (value, 0, 0, 0))))


def is_alone() -> bool:
    """Return whether this process has one thread: some calls apply only to the calling one."""
    return len(list(Path("/proc/self/task").iterdir())) == 1


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
