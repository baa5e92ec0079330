"""Temporary folders, and those that killed runs have left.

A run locks its folder for as long as it lives; the system releases the lock when the run ends,
however that happens. So a folder that can be locked belongs to no living run.

A lock is seen by the programs of one running kernel, perhaps not by other machines that share the
file system. So a folder's name has the kernel's boot id, and only those of this kernel are judged.
Where there is no boot id, or no lock on folders (some network file systems), nothing is swept.
"""

from __future__ import annotations

import os
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from itertools import islice
from pathlib import Path

from convlast.places.removal import remove_tree

try:
    import fcntl
except ModuleNotFoundError:  # on Windows
    _HAS_LOCKS = False
else:
    _HAS_LOCKS = True

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_ID_CHARACTERS = 12
_MAX_ENTRIES = 10_000
"""How many entries of a folder are looked at: a larger one is not worth the time."""

_PERMISSIONS = 0o777
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)
_ATTEMPTS = 20


@contextmanager
def temporary_tree(*, beside: Path | None = None, prefix: str) -> Iterator[Path]:
    """Make a folder for as long as it is needed; whatever it holds then goes with it.

    Folders that killed runs have left there under the same prefix are removed first.

    Args:
        beside: The folder to make it in; none: where temporary files lie.
        prefix: How its name begins.

    Raises:
        OSError: If it cannot be made.
    """
    parent = beside or Path(tempfile.gettempdir())
    prefix_here = f"{prefix}{_boot_id()}-"
    if _boot_id():
        _sweep(parent, prefix_here)
    path, lock = _made(parent, prefix, prefix_here)
    try:
        yield path
    finally:
        remove_tree(path)
        if lock is not None:
            os.close(lock)


@cache
def _boot_id() -> str:
    """Return a part of the id of the running kernel; empty if there is none, or no lock."""
    if not _HAS_LOCKS:
        return ""
    try:
        found = _BOOT_ID.read_text(errors="replace").strip()
    except OSError:
        return ""
    bare = found.replace("-", "")
    return bare[:_ID_CHARACTERS] if re.fullmatch("[0-9a-f]{32}", bare) else ""


def _made(parent: Path, prefix: str, prefix_here: str) -> tuple[Path, int | None]:
    """Make a folder, and lock it; without a lock it gets a name that nobody judges."""
    for _ in range(_ATTEMPTS if _boot_id() else 0):
        path = Path(tempfile.mkdtemp(dir=parent, prefix=prefix_here))
        try:
            lock = _locked(path)
        except BlockingIOError:
            continue  # another run took it for a leftover, and removes it
        except OSError:
            path.rmdir()
            break
        if lock is not None:
            return path, lock
    return Path(tempfile.mkdtemp(dir=parent, prefix=prefix)), None


def _sweep(parent: Path, prefix: str) -> None:
    """Remove the folders of runs that are dead. Nothing that stands in the way is an error."""
    with suppress(OSError), os.scandir(parent) as entries:
        for entry in islice(entries, _MAX_ENTRIES):
            if entry.name.startswith(prefix):
                with suppress(OSError):
                    _remove_if_left(Path(entry))


def _remove_if_left(path: Path) -> None:
    """Remove a folder of this user, unless a run lives in it.

    Raises:
        OSError: If a run does, or it is not a folder, or may not be opened.
    """
    lock = _locked(path)
    if lock is None:
        return
    try:
        found = os.fstat(lock)
        # As `mkdtemp` makes them; a folder that was made in another way is somebody's own.
        if (found.st_uid, found.st_mode & _PERMISSIONS) == (os.geteuid(), stat.S_IRWXU):
            remove_tree(path)
    finally:
        os.close(lock)


def _locked(path: Path) -> int | None:
    """Lock a folder, and return its descriptor; None if it was removed before it was locked.

    Raises:
        BlockingIOError: If another run has locked it.
        OSError: If it is no folder, or cannot be locked.
    """
    try:
        descriptor = os.open(path, _FOLDER)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), path.lstat()):
            return descriptor
    except FileNotFoundError:
        pass
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None
