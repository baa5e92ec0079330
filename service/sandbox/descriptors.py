"""Open files that a worker has inherited: the fork server's pipes among them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from service.sandbox.part import Part

_STANDARD = (0, 1, 2)


def close_descriptors(kept: Iterable[int]) -> Part:
    """Let go of every open file but the standard ones and these.

    A worker inherits the pipe that keeps the fork server alive and the one to the tracker that
    removes shared memory by name. Neither is its business.

    Each number is pointed at /dev/null, not freed: an object somewhere that still believes in it,
    and closes it later, would otherwise close a file of ours that got the same number.
    """
    spared = {*_STANDARD, *kept}
    try:
        null = os.open(os.devnull, os.O_RDWR)
        for number in _open_numbers() - spared - {null}:
            os.dup2(null, number, inheritable=False)
        os.close(null)
    except OSError as error:
        return Part.missing("descriptors", "Inherited files stay open", error)
    return Part(name="descriptors", held=True, detail="No inherited file but the pipe is open.")


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
