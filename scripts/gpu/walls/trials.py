"""Workers behind walls, one after the other: what they tell, and what they died of or hung in."""

from __future__ import annotations

import json
import socket
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from scripts.gpu.findings import Findings
from scripts.gpu.walls.worker import END, WARM_UP, Level, Task

ACTION_S = 30.0
"""Seconds in which a worker has to say something; one that does not hangs."""

_WORKERS = 4
"""Tried at a level: what one dies of is left out by the next."""


class Process(Protocol):
    """A worker, as `multiprocessing` has it."""

    @property
    def exitcode(self) -> int | None:
        """How it ended."""

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end."""

    def kill(self) -> None:
        """End it."""


Start: TypeAlias = Callable[[socket.socket, Path, Task], Process]
"""Starts a worker, with its end of the pipe, the folder for its own folders, and what it does."""


class Trials:
    """Lets workers do things, and goes on behind what one of them dies of."""

    def __init__(self, findings: Findings, start: Start) -> None:
        self._findings, self._start = findings, start

    def level(self, task: Task, limit_s: float) -> list[str]:
        """Let workers do all of a task within a time; return what failed."""
        until_s = time.monotonic() + limit_s
        failed: list[str] = []
        for _ in range(_WORKERS):
            story = self.run(task, until_s)
            failed += story.failed
            if story.doing in (None, WARM_UP) or time.monotonic() > until_s:
                break
            task = replace(task, actions=_behind(story.doing, task.actions))
        return failed

    def run(self, task: Task, until_s: float) -> Story:
        """Let one worker do a task, until it ends, hangs, or the time is up."""
        ours, theirs = socket.socketpair()
        with tempfile.TemporaryDirectory(prefix="walls-") as folder, ours:
            story = Story(self._findings, task.level)
            process = self._start(theirs, Path(folder), task)
            theirs.close()
            try:
                _listen(ours, story, task.device.allowed_s(ACTION_S), until_s)
            except TimeoutError:
                story.break_off("it hangs, or the time was up")
                process.kill()
            process.join(10)
            story.break_off(f"its process ended with {process.exitcode}")
        return story


class Story:
    """What one worker tells, from its start on.

    Attributes:
        doing: What it is doing: what it died of, if it has died; none when it has done all.
        failed: All that failed.
    """

    def __init__(self, findings: Findings, level: Level) -> None:
        self.doing: str | None = WARM_UP
        self.failed: list[str] = []
        self._findings, self._section = findings, f"walls: {level}"
        self._began_s = time.monotonic()

    def hear(self, told: dict[str, Any]) -> None:
        """Take note of what is begun, or of what came of it."""
        action = told["action"]
        self.doing = None if action == END else action
        if len(told) > 1:
            self._note(told)

    def break_off(self, reason: str) -> None:
        """Take note of an end in the middle of something, once."""
        if self.doing is not None and self.doing not in self.failed:
            self._note({"action": self.doing, "error": reason})

    def _note(self, told: dict[str, Any]) -> None:
        if "error" in told:
            self.failed.append(told["action"])
        after_s = round(time.monotonic() - self._began_s, 3)
        self._findings.note(self._section, {**told, "after_s": after_s})


def _listen(pipe: socket.socket, story: Story, action_s: float, until_s: float) -> None:
    """Hear what a worker tells, to its end.

    Raises:
        TimeoutError: If it says nothing for too long, or the time is up.
    """
    with pipe.makefile() as stream:
        while True:
            pipe.settimeout(max(1.0, min(action_s, until_s - time.monotonic())))
            line = stream.readline()
            if not line:
                return
            story.hear(json.loads(line))


def _behind(action: str, actions: tuple[str, ...]) -> tuple[str, ...]:
    """Return the actions that come behind one."""
    return actions[actions.index(action) + 1 :]
