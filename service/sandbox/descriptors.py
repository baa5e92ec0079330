"""Open files that a worker has inherited: the service's log and the fork server's pipes."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from service.sandbox.wall import Wall

_OUT, _ERROR = 1, 2


def close_descriptors(kept: Iterable[int], output: int) -> Wall:
    """Let go of every open file but these.

    A worker inherits the service's log, where it could write lines that look like the service's,
    or cut off those that are there; the pipe that keeps the fork server alive; and the one to the
    tracker that removes shared memory by name. None is its business.

    Each number is pointed elsewhere, not freed: an object somewhere that still believes in it,
    and closes it later, would otherwise close a file of ours that got the same number.

    Args:
        kept: The numbers that stay as they are.
        output: The number of the file where what is printed goes.
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
    """Give the numbers of the open files, without the one that the listing itself took."""
    numbers = {int(path.name) for path in Path("/proc/self/fd").iterdir()}
    return {number for number in numbers if _is_open(number)}


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True
