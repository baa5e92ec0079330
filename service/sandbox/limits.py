"""Resource limits that the kernel enforces for a process.

Some are left out on purpose. RLIMIT_AS breaks CUDA, and RLIMIT_AS and RLIMIT_DATA break mapped
files, so the service watches the memory instead. RLIMIT_NPROC counts all processes of the user,
including the service's, and does not apply to root, so the filter of system calls forbids new
processes instead. The service enforces the deadline of the job.
"""

from __future__ import annotations

import resource
import signal

from service.sandbox.kernel import prctl
from service.sandbox.wall import Wall

MAX_OPEN_FILES = 1024
_PR_SET_PDEATHSIG = 1


def set_limits(*, max_file_bytes: int) -> Wall:
    """Limit the files that this process writes and opens, and end it when its parent ends.

    A write beyond the size raises OSError with EFBIG, since Python ignores SIGXFSZ.
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
    """Set the soft and the hard limit, but keep a lower hard limit."""
    hard = resource.getrlimit(which)[1]
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(which, (limit, limit))
