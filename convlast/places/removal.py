"""Folders that others have filled, taken away: however deep, and nothing that they lead to.

`shutil.rmtree` goes down by calling itself, and raises RecursionError where folders lie some
hundreds deep, also where it is told to ignore errors.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_ROUNDS = 3
"""How often it is tried, since something may appear meanwhile."""

_FOLDER = os.O_DIRECTORY | os.O_CLOEXEC
_ABOVE = _FOLDER | getattr(os, "O_PATH", os.O_RDONLY)  # for which the right to search is enough


def remove_tree(path: Path) -> bool:
    """Remove a file, or a folder with all that is in it; say whether it is gone.

    No link is followed, nor one that takes a folder's place meanwhile, and no other file system is
    entered. No `OSError` is raised: what cannot be removed stays in the folder.
    """
    try:
        with _closing(os.open(path.parent, _ABOVE)) as parent:
            for _ in range(_ROUNDS):
                if _remove(path.name, parent):
                    return True
    except FileNotFoundError:
        return True
    except OSError:
        pass
    return False


def _remove(name: str, parent: int) -> bool:
    """Remove what has a name; say whether it is gone.

    Raises:
        OSError: If it is a file that cannot be removed.
    """
    if _unlink(name, parent):
        return True
    with suppress(OSError):
        with _opened(name, parent) as top:
            _empty(top)
        os.rmdir(name, dir_fd=parent)
        return True
    return False


def _empty(top: int) -> None:
    """Take all out of a folder. What lies deeper is moved up, so that no depth is too deep."""
    device = os.fstat(top).st_dev
    waiting = list(_folders_after_files(top))
    while waiting:
        name = waiting.pop()
        with suppress(OSError):
            with _opened(name, top) as folder:
                if os.fstat(folder).st_dev != device:
                    continue
                for inner in _folders_after_files(folder):
                    with suppress(OSError):
                        waiting.append(_move_up(inner, folder, top))
            os.rmdir(name, dir_fd=top)


def _folders_after_files(folder: int) -> Iterator[str]:
    """Remove what is no folder, and yield the names of those that are."""
    with os.scandir(folder) as entries:
        for entry in entries:
            with suppress(OSError):
                if not _unlink(entry.name, folder):
                    yield entry.name


def _move_up(name: str, folder: int, top: int) -> str:
    """Move a folder to the one that is being emptied, under a name of its own."""
    moved = secrets.token_hex(16)
    _allow_all(name, folder)  # where a folder lies is written in it
    os.rename(name, moved, src_dir_fd=folder, dst_dir_fd=top)
    return moved


def _unlink(name: str, parent: int) -> bool:
    """Remove what is no folder; say whether it was none."""
    try:
        os.unlink(name, dir_fd=parent)
    except IsADirectoryError:
        return False
    except PermissionError:  # which some systems say of every folder
        if stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
            return False
        raise
    return True


@contextmanager
def _opened(name: str, parent: int) -> Iterator[int]:
    """Open a folder, and give its owner all rights on it."""
    flags = _FOLDER | os.O_RDONLY | os.O_NOFOLLOW
    try:
        descriptor = os.open(name, flags, dir_fd=parent)
    except PermissionError:
        _allow_all(name, parent)
        descriptor = os.open(name, flags, dir_fd=parent)
    with _closing(descriptor):
        if os.fstat(descriptor).st_mode & stat.S_IRWXU != stat.S_IRWXU:
            os.fchmod(descriptor, stat.S_IRWXU)
        yield descriptor


def _allow_all(name: str, parent: int) -> None:
    """Give a folder's owner all rights on it, where the system can do that to no link."""
    with suppress(OSError, NotImplementedError):
        os.chmod(name, stat.S_IRWXU, dir_fd=parent, follow_symlinks=False)


@contextmanager
def _closing(descriptor: int) -> Iterator[int]:
    try:
        yield descriptor
    finally:
        os.close(descriptor)
