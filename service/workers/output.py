"""The output of a worker: an unlinked file, of which the service reads the end.

It is for the last messages of CUDA and C++ when they crash. A pipe would have to be read all the
time, or it would block the worker once it is full.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

MAX_BYTES = 4096
_NAME = "output"


class WorkerOutput:
    """The service's side of the output file."""

    def __init__(self, folder: Path, connection: socket.socket) -> None:
        """Make the file in a folder, and send it to the worker at the other end of the connection.

        It is opened twice, since duplicates of one descriptor share their flags and position.
        """
        path = folder / _NAME
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        printed = os.open(path, flags, 0o600)
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            path.unlink()
            socket.send_fds(connection, [b" "], [printed])
        finally:
            os.close(printed)

    def end(self) -> str:
        """Return the end of the output, with control characters replaced."""
        size_bytes = os.fstat(self._descriptor).st_size
        end = os.pread(self._descriptor, MAX_BYTES, max(0, size_bytes - MAX_BYTES))
        text = end.decode(errors="replace").strip()
        return "".join(each if each.isprintable() or each == "\n" else "?" for each in text)

    def close(self) -> None:
        """Close the file, which removes it once the worker has ended."""
        os.close(self._descriptor)


def receive_output(connection: socket.socket) -> int:
    """Receive the output file from the service, and return its descriptor."""
    _, descriptors, _, _ = socket.recv_fds(connection, 1, 1)
    return descriptors[0]
