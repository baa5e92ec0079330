"""Limits that the kernel keeps for a process.

Not among them, on purpose: RLIMIT_AS breaks CUDA, and it and RLIMIT_DATA break mapped files, so
memory is watched from outside; RLIMIT_NPROC counts all processes of the user, the service's own
among them, and does not bind root, so the filter of system calls forbids new processes instead;
time is the deadline of the job, kept by the service.
"""

from __future__ import annotations

import resource
import signal

from service.sandbox.kernel import prctl
from service.sandbox.wall import Wall

MAX_OPEN_FILES = 1024
_PR_SET_PDEATHSIG = 1


def set_limits(*, max_file_bytes: int) -> Wall:
    """Bound what this process writes and opens, and let it end with the one that forked it.

    A write beyond the size raises OSError with EFBIG: Python ignores the signal.
    """
    try:
        _lower(resource.RLIMIT_FSIZE, max_file_bytes)
        _lower(resource.RLIMIT_NOFILE, MAX_OPEN_FILES)
        _lower(resource.RLIMIT_CORE, 0)
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    except (OSError, ValueError) as error:
        return Wall.missing("limits", f"Limits cannot be set: {error}")
    return Wall(
        name="limits",
        held=True,
        detail=f"Files up to {max_file_bytes:,} bytes, {MAX_OPEN_FILES} of them open.",
    )


def _lower(which: int, limit: int) -> None:
    """Set the soft and the hard limit; a hard limit that is lower already stays."""
    hard = resource.getrlimit(which)[1]
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(which, (limit, limit))
