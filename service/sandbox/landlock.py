"""Landlock: which files this process, and the threads it starts later, can open.

Done by hand, in three system calls: what is granted is the heart of the sandbox, and should be
read here rather than in a young dependency. Nothing may be executed, and no socket, pipe, device
or link be made, anywhere. TCP and signals to others end here too where the kernel can do that;
`calls` forbids both in any case.

Source: https://docs.kernel.org/userspace-api/landlock.html
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
import struct
from collections.abc import Iterable
from pathlib import Path

from service.sandbox import surroundings
from service.sandbox.kernel import call, is_alone
from service.sandbox.wall import Wall

# Landlock came after the numbers of all architectures were made one.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION, _PATH_BENEATH = 1, 1

(
    _EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _REMOVE_DIR, _REMOVE_FILE, _MAKE_CHAR, _MAKE_DIR,
    _MAKE_REG, _MAKE_SOCK, _MAKE_FIFO, _MAKE_BLOCK, _MAKE_SYM, _REFER, _TRUNCATE, _IOCTL_DEV,
) = (1 << bit for bit in range(16))  # fmt: skip

_READ = _READ_FILE | _READ_DIR
_OWN = _READ | _WRITE_FILE | _TRUNCATE | _MAKE_REG | _MAKE_DIR | _REMOVE_FILE | _REMOVE_DIR | _REFER
_DEVICE = _READ | _WRITE_FILE | _IOCTL_DEV
_FOR_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV

# What each version can keep out: actions on files, on TCP, and towards other processes.
_HANDLED = {
    2: (_TRUNCATE - 1, 0, 0),
    3: (_IOCTL_DEV - 1, 0, 0),
    4: (_IOCTL_DEV - 1, 0b11, 0),
    5: (2 * _IOCTL_DEV - 1, 0b11, 0),
    6: (2 * _IOCTL_DEV - 1, 0b11, 0b11),
}
_OLDEST, _NEWEST = min(_HANDLED), max(_HANDLED)


def close_files(folder: Path) -> tuple[Wall, Wall]:
    """Leave this process its own folder, and for reading what it must read.

    Args:
        folder: Where files can be read, made, changed, moved and removed.

    Returns:
        Whether other files are out of reach, and whether those that can be read are safe from
        being cut off.
    """
    try:
        version = _close(folder)
    except OSError as error:
        what = "Other files are within reach: Landlock of Linux 5.19 or newer is needed"
        return Wall.missing("files", what, error), Wall.missing("truncation", what, error)
    if not is_alone():
        what = "Threads ran before Landlock was closed, and it does not bind them"
        return Wall.missing("files", what), Wall.missing("truncation", what)
    return (
        Wall(name="files", held=True, detail=f"Its own folder and libraries (Landlock {version})."),
        Wall(name="truncation", held=True, detail="Nothing else can be cut off.")
        if version >= 3
        else Wall.missing("truncation", "A file that can be read can be cut off before Linux 6.2"),
    )


def available_version() -> int:
    """Tell which version of Landlock the kernel has; 0 for none.

    It may be absent, switched off at boot, or forbidden by the container.
    """
    try:
        return call(_CREATE_RULESET, 0, 0, _VERSION)
    except OSError:
        return 0


def _close(folder: Path) -> int:
    version, ruleset = _create_ruleset(min(call(_CREATE_RULESET, 0, 0, _VERSION), _NEWEST))
    try:
        handled = _HANDLED[version][0]
        _grant(ruleset, folder, _OWN & handled)
        _grant_present(ruleset, surroundings.readable(), _READ & handled)
        _grant_present(ruleset, surroundings.devices(), _DEVICE & handled)
        _grant_present(ruleset, [surroundings.THREADS], (_WRITE_FILE | _TRUNCATE) & handled)
        call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
    return version


def _create_ruleset(version: int) -> tuple[int, int]:
    """Make a set of rules that forbids all that this version knows.

    NOTE: Kernels of RHEL 9 say 6 and lack a part of it, so an older set is tried where one is
    refused. Source: https://github.com/tukaani-project/xz (src/common/my_landlock.h).
    """
    for known in range(version, _OLDEST - 1, -1):
        attributes = (ctypes.c_uint64 * 3)(*_HANDLED[known])
        try:
            size = ctypes.sizeof(attributes)
            return known, call(_CREATE_RULESET, ctypes.addressof(attributes), size, 0)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
    # NOTE: Version 1 forbids every move from one folder to another, which ends each conversion.
    raise OSError(errno.EOPNOTSUPP, f"it has version {version}")


def _grant_present(ruleset: int, paths: Iterable[Path], actions: int) -> None:
    for path in paths:
        # What is absent, or cannot be reached now, is no loss later.
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            _grant(ruleset, path, actions)


def _grant(ruleset: int, path: Path, actions: int) -> None:
    """Allow these actions on a file, or on all that lies in a folder."""
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
    allowed = actions if is_folder else actions & _FOR_FILES
    rule = ctypes.create_string_buffer(struct.pack("=Qi", allowed, descriptor))
    try:
        call(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.addressof(rule), 0)
    finally:
        # NOTE: A rule is tied to an inode. The kernel forgets those of /proc when memory is short,
        # makes others when they are next asked for, and the rule no longer fits; an open
        # descriptor keeps them. Seen on Linux 6.18 with /proc/sys/vm/drop_caches.
        if not path.is_relative_to("/proc"):
            os.close(descriptor)
