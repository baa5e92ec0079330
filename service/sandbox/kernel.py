"""System calls that Python has no function for. The only place that calls libc by hand."""

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
    # Each argument fills a register: an int of Python would be passed as half of one.
    return _checked(_libc.syscall(*map(ctypes.c_long, (number, *arguments))))


def prctl(option: int, value: int) -> int:
    """Set an attribute of this thread or process.

    Raises:
        OSError: If the kernel refuses.
    """
    return _checked(_libc.prctl(ctypes.c_int(option), *map(ctypes.c_ulong, (value, 0, 0, 0))))


def is_alone() -> bool:
    """Tell whether this process has one thread: some calls bind no other."""
    return len(list(Path("/proc/self/task").iterdir())) == 1


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
