"""Closes the files that a worker inherits: the service's log and the fork server's pipes."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from service.sandbox.wall import Wall

_OUT, _ERROR = 1, 2


def close_descriptors(kept: Iterable[int], output: int) -> Wall:
    """Close every open file except these.

    A worker inherits the service's log, in which it could forge or truncate lines; the pipe that
    keeps the fork server alive; and the pipe to the tracker that removes shared memory by name. It
    needs none of them.

    Each descriptor is redirected to `/dev/null`, not freed: otherwise an object that still has its
    number and closes it later would close another file that has got the same number.

    Args:
        kept: The descriptors that stay open.
        output: The descriptor of the file for the worker's output.
    """
    try:
        null = os.open(os.devnull, os.O_RDWR)
        for number in (_OUT, _ERROR):
            os.dup2(output, number)
        for number in _open_numbers() - {_OUT, _ERROR, *kept, null}:
            os.dup2(null, number, inheritable=False)
        os.close(null)
    except OSError as error:
        return Wall.missing("descriptors", "Inherited files stay open", error)
    return Wall(name="descriptors", held=True, detail="No inherited file but the pipe is open.")


def _open_numbers() -> set[int]:
    """Return the numbers of the open files, without the one that the listing itself used."""
    numbers = {int(path.name) for path in Path("/proc/self/fd").iterdir()}
    return {number for number in numbers if _is_open(number)}


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True
