"""The process behind the walls: it tells of each thing before it does it, and what came of it."""

from __future__ import annotations

import json
import os
import socket
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

from scripts.gpu.device import Device
from scripts.gpu.findings import error_of
from scripts.gpu.process import usage
from scripts.gpu.walls.actions import ACTIONS, Action
from service.sandbox import Wall, enter, seal
from service.workers import conversion
from service.workers.folders import WorkerFolders

Level: TypeAlias = Literal["sealed", "entered", "none"]
"""All walls, as jobs have them; those of before the warm-up alone; none."""

WARM_UP, END = "warm-up", "end"
_MAX_FILE_BYTES = 1 << 32
_STDERR = 2


@dataclass(frozen=True)
class Task:
    """What a worker is to do.

    Attributes:
        level: Behind which walls.
        device: Where.
        actions: What, by name; nothing but warming up where there are none.
    """

    level: Level
    device: Device
    actions: tuple[str, ...] = ()


def serve(pipe: socket.socket, folder: Path, task: Task) -> None:
    """Warm up, do what is asked, and end this process.

    Args:
        pipe: Where it is told of, a line of JSON each. Before an action comes its name alone.
        folder: Where its own folders are made.
        task: What is to be done.
    """
    stream = pipe.makefile("w")

    def tell(action: str, **found: object) -> None:
        stream.write(f"{json.dumps({'action': action, **found}, default=str)}\n")
        stream.flush()

    warnings.simplefilter("ignore")
    tell(WARM_UP)
    found = _tried(partial(_prepare, pipe, folder, task))
    tell(WARM_UP, **found)
    if "error" not in found:
        for name in task.actions:
            tell(name)
            tell(name, **_tried(partial(_done, ACTIONS[name], task.device)))
        tell(END, **usage())
    os._exit(0)


def _prepare(pipe: socket.socket, folder: Path, task: Task) -> dict[str, Any]:
    """Put up the walls and warm up between them, as the service's workers do."""
    parts: list[Wall] = []
    if task.level != "none":
        own = WorkerFolders.make(folder)
        parts += enter(own.work, own.input, pipe.fileno(), _STDERR, max_file_bytes=_MAX_FILE_BYTES)
    began_s = time.perf_counter()
    facts = conversion.warm(task.device.where.type)
    warm_s = time.perf_counter() - began_s
    if task.level == "sealed":
        parts += seal()
    walls = {part.name: part.held or part.detail for part in parts}
    return {"warm_s": warm_s, "walls": walls, "facts": facts, **usage()}


def _done(action: Action, device: Device) -> object:
    value = action(device)
    device.wait()
    return value


def _tried(do: Callable[[], object]) -> dict[str, Any]:
    """Do something; return its value or its error, and the seconds."""
    began_s = time.perf_counter()
    try:
        found: dict[str, Any] = {"value": do()}
    except Exception as error:
        found = dict(error_of(error))
    return {**found, "took_s": round(time.perf_counter() - began_s, 4)}
