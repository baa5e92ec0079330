"""Runs one function in a sandboxed process, forked as the service forks its workers."""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from service.sandbox import Wall, enter, seal
from service.sandbox.landlock import available_version
from service.workers import conversion
from service.workers.output import WorkerOutput, receive_output

MAX_FILE_BYTES = 64 << 20
_END_S = 60.0

needs_landlock = pytest.mark.skipif(
    available_version() < 2, reason="this kernel, or container, has no Landlock 2"
)
needs_seccomp = pytest.mark.skipif(
    "Seccomp_filters" not in Path("/proc/self/status").read_text(),
    reason="this kernel, or container, has no seccomp filters",
)

_context = multiprocessing.get_context("forkserver")


@dataclass(frozen=True)
class Outcome:
    """The result of a function in the sandbox.

    Attributes:
        value: The value that the function returned.
        error: The class name of the error that it raised, if it did.
        errno: The errno of the error, if it has one.
        text: The text of the error.
        parts: The walls.
        exit_code: How the process ended.
        printed: The end of its output.
    """

    value: Any = None
    error: str | None = None
    errno: int | None = None
    text: str = ""
    parts: tuple[Wall, ...] = ()
    exit_code: int | None = None
    printed: str = ""

    @property
    def is_refused(self) -> bool:
        """Whether the system has refused."""
        return self.error == "PermissionError"

    def part(self, name: str) -> Wall:
        """Return a wall by its name."""
        return next(each for each in self.parts if each.name == name)


def run_inside(
    action: Callable[..., Any], *arguments: Any, folder: Path, device: str = "cpu"
) -> Outcome:
    """Call a function of a module in a sealed worker, whose folder `input` lies beside `folder`."""
    ours, theirs = socket.socketpair()
    output = WorkerOutput(folder, ours)
    process = _context.Process(
        target=_serve, args=(theirs, folder, device, action, arguments), daemon=True
    )
    process.start()
    theirs.close()
    with ours, ours.makefile() as stream:
        ours.settimeout(_END_S)
        line = stream.readline()
    process.join(_END_S)
    told = json.loads(line) if line else {}
    parts = tuple(Wall.model_validate(each) for each in told.pop("parts", []))
    printed = output.end()
    output.close()
    return Outcome(**told, parts=parts, exit_code=process.exitcode, printed=printed)


def _serve(
    pipe: socket.socket,
    folder: Path,
    device: str,
    action: Callable[..., Any],
    arguments: tuple[Any, ...],
) -> None:
    output = receive_output(pipe)
    parts = enter(
        folder,
        folder.with_name("input"),
        pipe.fileno(),
        output,
        max_file_bytes=MAX_FILE_BYTES,
    )
    conversion.warm(device)
    parts += seal()
    told: dict[str, Any] = {"parts": [part.model_dump() for part in parts]}
    try:
        told["value"] = action(*arguments)
    except Exception as error:
        told |= {
            "error": type(error).__name__,
            "errno": getattr(error, "errno", None),
            "text": str(error),
        }
    pipe.sendall(json.dumps(told).encode() + b"\n")
    os._exit(0)
