"""The sandbox of a worker, which can reach only its own folders, libraries and the open pipe.

A worker opens untrusted files. If one of them manages to run code in it, that code has no network,
cannot start a program, and cannot reach another process, another job's files, or a secret. The
sandbox is closed in two steps, because the device is warmed up between them:

    enter   right after the fork, while there is one thread: later threads inherit its limits
    seal    after the warm-up, before an untrusted file is opened: applies to every thread

Each part is a `Wall`, which tells whether it is in place. If the kernel or the container does not
allow a wall, that is reported. The service watches the memory, see `memory_watch`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from service.sandbox.calls import close_calls
from service.sandbox.descriptors import close_descriptors
from service.sandbox.environment import scrub_environment
from service.sandbox.landlock import close_files, prepare, prepared
from service.sandbox.limits import set_limits
from service.sandbox.privileges import drop_privileges, hide_memory
from service.sandbox.wall import Wall

__all__ = ["Wall", "enter", "prepare", "scrub_environment", "seal"]


def enter(
    folder: Path,
    input_folder: Path,
    pipe: int,
    output: int,
    *,
    max_file_bytes: int,
    sees_gpus: bool = True,
) -> tuple[Wall, ...]:
    """Put up the walls that need a process with one thread.

    Args:
        folder: The only folder that can be written to; jobs are moved into it.
        input_folder: The folder of the checkpoint, which can only be read.
        pipe: The descriptor of the pipe to the service.
        output: The descriptor of the file for the worker's output.
        max_file_bytes: The largest file that can be written.
        sees_gpus: Whether CUDA finds the GPUs of this machine.
    """
    # Libraries that need a folder for temporary files or caches get one that can be written to.
    folders = {"HOME": str(folder), "TMPDIR": str(folder)}
    environment = scrub_environment(folders | ({} if sees_gpus else {"CUDA_VISIBLE_DEVICES": ""}))
    tempfile.tempdir = None
    return (
        environment,
        close_descriptors({pipe, *prepared()}, output),
        drop_privileges(),
        set_limits(max_file_bytes=max_file_bytes),
        *close_files(folder, input_folder),
    )


def seal() -> tuple[Wall, ...]:
    """Put up the walls behind which a device cannot be warmed up."""
    return hide_memory(), close_calls()
