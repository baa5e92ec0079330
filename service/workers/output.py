"""What a worker prints: in a file of its own, of which the service reads the end.

It is there for what CUDA and C++ say when they break. A pipe would have to be read all the time, or
stop the worker once it is full; a file does neither. It has no name, and goes with the worker.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

MAX_BYTES = 4096
_NAME = "output"


class WorkerOutput:
    """The file, as the service sees it."""

    def __init__(self, folder: Path, connection: socket.socket) -> None:
        """Make it on the file system of a folder, and hand it to the worker at the other end.

        It is opened twice: the flags and the position of an open file are one for all who hold it.
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
        """Give the end of what was printed, without what steers a terminal."""
        size_bytes = os.fstat(self._descriptor).st_size
        end = os.pread(self._descriptor, MAX_BYTES, max(0, size_bytes - MAX_BYTES))
        text = end.decode(errors="replace").strip()
        return "".join(each if each.isprintable() or each == "\n" else "?" for each in text)

    def close(self) -> None:
        """Let go of it."""
        os.close(self._descriptor)


def receive_output(connection: socket.socket) -> int:
    """Take the file from the service; give its number."""
    _, descriptors, _, _ = socket.recv_fds(connection, 1, 1)
    return descriptors[0]
