"""Landlock: which files this process, and the threads that it starts later, can open.

It takes three system calls, made here rather than by a young dependency, so that the granted rights
can be reviewed in one place. Nothing may be executed, and no socket, pipe, device or link can be
made. Landlock also forbids TCP and signals to other processes if the kernel supports that; `calls`
forbids both in any case.

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

# Landlock is newer than the common numbering of system calls for all architectures.
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

# What each version can forbid: actions on files, on TCP, and towards other processes.
_HANDLED = {
    2: (_TRUNCATE - 1, 0, 0),
    3: (_IOCTL_DEV - 1, 0, 0),
    4: (_IOCTL_DEV - 1, 0b11, 0),
    5: (2 * _IOCTL_DEV - 1, 0b11, 0),
    6: (2 * _IOCTL_DEV - 1, 0b11, 0b11),
}
_OLDEST, _NEWEST = min(_HANDLED), max(_HANDLED)

_prepared: list[int] = []
"""Open descriptors of what all workers may read, inherited from the process that forks them."""


def prepare() -> None:
    """Open what all workers may read, for all processes that are forked from this one.

    Only the descriptors are shared. A set of rules must not be: it could be added to later, and
    one worker could then reach the folder of another.
    """
    for path in surroundings.readable():
        with contextlib.suppress(OSError):
            _prepared.append(os.open(path, os.O_PATH | os.O_CLOEXEC))


def prepared() -> frozenset[int]:
    """Return the descriptors that `close_files` needs and closes."""
    return frozenset(_prepared)


def close_files(folder: Path, input_folder: Path) -> tuple[Wall, Wall]:
    """Restrict this process to its own folders and to the files that it must read.

    Args:
        folder: The folder in which files can be read, made, changed, moved and removed.
        input_folder: The folder in which files can only be read. It must not lie in the other one,
            since rights add up along a path.

    Returns:
        The walls `files`, no access to other files, and `truncation`, no truncation of files that
        can only be read.
    """
    try:
        version = _close(folder, input_folder)
    except OSError as error:
        what = "Other files can be accessed: Landlock of Linux 5.19 or newer is needed"
        return Wall.missing("files", what, error), Wall.missing("truncation", what, error)
    finally:
        while _prepared:
            os.close(_prepared.pop())
    if not is_alone():
        what = "Threads were started before Landlock was, and it does not restrict them"
        return Wall.missing("files", what), Wall.missing("truncation", what)
    return (
        Wall(
            name="files", held=True, detail=f"Its own folders and libraries (Landlock {version})."
        ),
        Wall(name="truncation", held=True, detail="No other file can be truncated.")
        if version >= 3
        else Wall.missing("truncation", "Before Linux 6.2, readable files can be truncated"),
    )


def available_version() -> int:
    """Return the kernel's version of Landlock, or 0 for none.

    Landlock may be absent, switched off at boot, or forbidden by the container.
    """
    try:
        return call(_CREATE_RULESET, 0, 0, _VERSION)
    except OSError:
        return 0


def _close(folder: Path, input_folder: Path) -> int:
    version, ruleset = _create_ruleset(min(call(_CREATE_RULESET, 0, 0, _VERSION), _NEWEST))
    try:
        handled = _HANDLED[version][0]
        _grant(ruleset, folder, _OWN & handled)
        _grant(ruleset, input_folder, _READ & handled)
        _grant_readable(ruleset, _READ & handled)
        _grant_present(ruleset, surroundings.readable_of_process(), _READ & handled)
        _grant_present(ruleset, surroundings.devices(), _DEVICE & handled)
        _grant_present(ruleset, [surroundings.THREADS], (_WRITE_FILE | _TRUNCATE) & handled)
        call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
    return version


def _create_ruleset(version: int) -> tuple[int, int]:
    """Make a set of rules that forbids every action that this version knows.

    NOTE: Kernels of RHEL 9 report version 6 but lack a part of it, so if a version is refused, an
    older one is tried. Source: https://github.com/tukaani-project/xz (src/common/my_landlock.h).
    """
    for known in range(version, _OLDEST - 1, -1):
        attributes = (ctypes.c_uint64 * 3)(*_HANDLED[known])
        try:
            size = ctypes.sizeof(attributes)
            return known, call(_CREATE_RULESET, ctypes.addressof(attributes), size, 0)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
    # NOTE: Version 1 forbids moving files between folders, which every conversion does.
    raise OSError(errno.EOPNOTSUPP, f"it has version {version}")


def _grant_readable(ruleset: int, actions: int) -> None:
    """Allow these actions on what all workers may read."""
    if not _prepared:
        prepare()
    for descriptor in _prepared:
        _add_rule(ruleset, descriptor, actions)


def _grant_present(ruleset: int, paths: Iterable[Path], actions: int) -> None:
    for path in paths:
        # A path that is absent or inaccessible now is not needed later.
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            _grant(ruleset, path, actions)


def _grant(ruleset: int, path: Path, actions: int) -> None:
    """Allow these actions on a file, or on everything in a folder."""
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        _add_rule(ruleset, descriptor, actions)
    finally:
        # NOTE: A rule is tied to an inode. When memory is short, the kernel drops the inodes of
        # /proc, and makes new ones later, to which the rule does not apply. An open descriptor
        # keeps the inode. Seen on Linux 6.18 with /proc/sys/vm/drop_caches.
        if not path.is_relative_to("/proc"):
            os.close(descriptor)


def _add_rule(ruleset: int, descriptor: int, actions: int) -> None:
    """Allow these actions on an open file, or on everything in an open folder."""
    is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
    allowed = actions if is_folder else actions & _FOR_FILES
    rule = ctypes.create_string_buffer(struct.pack("=Qi", allowed, descriptor))
    call(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.addressof(rule), 0)
