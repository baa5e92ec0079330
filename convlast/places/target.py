"""Where a file is written that a user named: always a regular file, or a new one."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from convlast.errors import OptionError

_KINDS = {
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
}


def place_of(named: Path, option: str = "target") -> Path:
    """Return the place that a user's name means: that of a link's target, if it is a link.

    What is made is moved there, so anything but a file, a folder or nothing would be destroyed.

    Args:
        named: The name.
        option: The option that gave it, for the message.

    Raises:
        OptionError: If it is a device, a pipe or a socket, or a link that leads nowhere, or `-`.
    """
    if named == Path("-"):
        raise OptionError(
            option,
            "Nothing is written to standard output under the name '-'.",
            remedy="Name a file. --json prints the report on standard output.",
        )
    try:
        place = Path(os.path.realpath(named))
        # Not the place's own: /dev/stdout leads to a pipe, which has no place.
        mode = stat.S_IFMT(named.stat().st_mode)
    except FileNotFoundError:
        return place
    except OSError as error:  # a link to itself, a name that is too long, a file for a folder
        raise OptionError(option, f"{str(named)!r} cannot be written: {error.strerror}.") from error
    if mode not in {stat.S_IFREG, stat.S_IFDIR}:
        raise OptionError(
            option,
            f"{str(named)!r} is {_KINDS.get(mode, 'no file')}; a file would take its place.",
            remedy="Name a file, or a place where there is none.",
        )
    return place
