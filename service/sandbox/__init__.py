"""What a worker can reach: its own folder, what it must read, the open pipe, and nothing more.

A worker opens files that nobody trusts. Were one of them to run code in it, that code would find
no network, no program to start, no other process, no other job's file, and no secret. The walls
go up in two steps, because the device is warmed up between them:

    enter   right after the fork, while there is one thread: later threads inherit what it does
    seal    after the warm-up, before the first byte of a stranger's file: binds every thread

Each wall is a `Wall` that says whether it stands. What the kernel or the container does not allow
is named there; nothing is left out in silence. Memory is watched from outside, see `memory`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from service.sandbox.calls import close_calls
from service.sandbox.descriptors import close_descriptors
from service.sandbox.environment import scrub_environment
from service.sandbox.landlock import close_files
from service.sandbox.limits import set_limits
from service.sandbox.privileges import drop_privileges, hide_memory
from service.sandbox.wall import Wall

__all__ = ["Wall", "enter", "scrub_environment", "seal"]


def enter(
    folder: Path, pipe: int, output: int, *, max_file_bytes: int, sees_gpus: bool = True
) -> tuple[Wall, ...]:
    """Put up the walls that must stand before this process has a second thread.

    Args:
        folder: The only place where files can be made, and where jobs are put.
        pipe: The descriptor that leads to the service.
        output: That of the file where what is printed goes.
        max_file_bytes: The size beyond which no file can be written.
        sees_gpus: Whether CUDA finds the GPUs of this machine.
    """
    # What asks for a place for temporary files, or for the user's caches, finds one that works.
    folders = {"HOME": str(folder), "TMPDIR": str(folder)}
    environment = scrub_environment(folders | ({} if sees_gpus else {"CUDA_VISIBLE_DEVICES": ""}))
    tempfile.tempdir = None
    return (
        environment,
        close_descriptors({pipe}, output),
        drop_privileges(),
        set_limits(max_file_bytes=max_file_bytes),
        *close_files(folder),
    )


def seal() -> tuple[Wall, ...]:
    """Put up the walls that the warm-up of a device would not survive."""
    return hide_memory(), close_calls()
