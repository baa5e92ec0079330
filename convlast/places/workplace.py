"""Where an artifact is made: beside its place, out of sight, and gone afterwards."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from convlast.errors import OptionError
from convlast.errors.full_disk import full_disk_translated
from convlast.places.leftovers import temporary_tree
from convlast.places.target import place_of

_LIKE_THE_INPUT = "Free room for an artifact like the input."

_HERE, _EXCHANGE = -100, 2
"""`AT_FDCWD` and `RENAME_EXCHANGE` of Linux.

Source: https://man7.org/linux/man-pages/man2/rename.2.html
"""


def refuse_same_file(source: Path, target: Path) -> None:
    """Refuse a target that is the source.

    Raises:
        OptionError: If it is, by whatever name.
    """
    if target.exists() and target.samefile(source):
        raise OptionError(
            "target", "The artifact would replace the input.", remedy="Give it another name."
        )


def refuse_nested(source: Path, target: Path) -> None:
    """Refuse a target inside the folder that is the source.

    Raises:
        OptionError: If it is.
    """
    if target.resolve().is_relative_to(source.resolve()):
        raise OptionError(
            "target", "The artifact would be in the input.", remedy="Name a place beside it."
        )


def refuse_folder(target: Path) -> None:
    """Refuse a folder as the name of a file.

    Raises:
        OptionError: If it is one.
    """
    if target.is_dir():
        raise OptionError("target", f"{str(target)!r} is a folder.", remedy="Name a file in it.")


@contextmanager
def workplace_beside(
    target: Path,
    *,
    for_folder: bool = False,
    may_replace: bool = False,
    room: str = _LIKE_THE_INPUT,
) -> Iterator[Path]:
    """Make a folder beside the target for as long as the work takes; leave nothing of it.

    Args:
        target: What will be made, from `place_of`; a file that is there may be replaced, a folder
            only if empty, or `may_replace`.
        for_folder: Whether it will be a folder.
        may_replace: Whether a folder that is there and not empty may be replaced.
        room: What to do if the file system is full.

    Raises:
        OptionError: If the target's folder is absent or may not be written to, or the target cannot
            be replaced.
        StorageFullError: If the file system fills up.
    """
    if not target.parent.is_dir():
        raise OptionError("target", f"There is no folder {str(target.parent)!r}.")
    if for_folder and target.exists() and not target.is_dir():
        raise OptionError("target", f"{str(target)!r} is a file, where a folder is to be made.")
    if for_folder and target.is_dir() and not may_replace and any(target.iterdir()):
        raise OptionError(
            "target",
            f"{str(target)!r} is there already, and is no empty folder.",
            remedy="Name a folder that is not there yet. If it comes from an earlier conversion, "
            "overwrite=True (--force) replaces it.",
        )
    if not for_folder:
        refuse_folder(target)
    with workplace_in(target.parent, room=room) as place:
        yield place


@contextmanager
def workplace_in(folder: Path, *, room: str = _LIKE_THE_INPUT) -> Iterator[Path]:
    """Make a folder in another one for as long as the work takes; leave nothing of it.

    Args:
        folder: The other one.
        room: What to do if the file system is full.

    Raises:
        OptionError: If the folder may not be written to.
        StorageFullError: If the file system fills up.
    """
    with full_disk_translated(remedy=room), ExitStack() as held:
        try:
            place = held.enter_context(temporary_tree(beside=folder, prefix=".convlast-"))
        except OSError as error:
            if error.errno not in {errno.EACCES, errno.EPERM, errno.EROFS}:
                raise
            raise OptionError(
                "target",
                f"Nothing can be written to the folder {str(folder)!r}: {error.strerror}.",
                remedy="Name a place where you may write.",
            ) from error
        yield place


def replace_folder(made: Path, target: Path) -> None:
    """Move a folder to its place, whole; the one that is there goes where the new one was.

    Linux exchanges both in one step. Elsewhere the place is empty for a moment.

    Args:
        made: The new folder.
        target: Its place, where a folder is; on the same file system.

    Raises:
        OSError: If one of them cannot be moved.
    """
    if _exchanged(made, target):
        return
    aside = made.with_name(f"{made.name}-before")
    try:
        target.rename(aside)
        made.rename(target)
    except BaseException:  # an interruption too
        if aside.exists() and not target.exists():
            aside.rename(target)
        raise


def _exchanged(one: Path, other: Path) -> bool:
    """Exchange two folders in one step, and say whether this system can do that."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError, TypeError):  # not Linux, or an old C library
        return False
    status: int = rename(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE)
    return status == 0


def write_whole(target: Path, content: bytes, option: str) -> None:
    """Write a small file, which appears whole or not at all; one that is there is replaced.

    Args:
        target: The file, as a user named it.
        content: What is to be in it.
        option: The option that named it, for the message.

    Raises:
        OptionError: If it cannot be put there.
        StorageFullError: If the file system fills up.
        OSError: If it cannot be written for another reason.
    """
    place = place_of(target, option)
    with workplace_beside(place, room="Free room for the file.") as folder:
        made = folder / place.name
        made.write_bytes(content)
        made.replace(place)


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Make a folder among the temporary ones for as long as a look into an archive takes.

    Raises:
        StorageFullError: If the file system fills up.
    """
    with (
        full_disk_translated(
            remedy="Free room for what is in the archive where temporary files lie (TMPDIR)."
        ),
        temporary_tree(prefix="convlast-") as place,
    ):
        yield place
