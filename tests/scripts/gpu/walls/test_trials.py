"""A worker that dies or hangs costs the others nothing: fakes that tell what workers tell."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.gpu.device import Device
from scripts.gpu.findings import Findings
from scripts.gpu.walls import trials
from scripts.gpu.walls.trials import Start, Trials
from scripts.gpu.walls.worker import END, WARM_UP, Task

TASK = Task("sealed", Device(is_gpu=False), ("a", "b", "c"))


class FakeProcess:
    """A worker in a thread, which does each action but some.

    Attributes:
        exitcode: 9 if it was ended.
    """

    def __init__(self, pipe: socket.socket, task: Task, dies_of: str, hangs_in: str) -> None:
        self.exitcode: int | None = 1
        self._ended, self._stream = threading.Event(), pipe.makefile("w")
        self._task, self._dies_of, self._hangs_in = task, dies_of, hangs_in
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        with self._stream:
            for line in self._lines():
                self._stream.write(f"{json.dumps(line)}\n")
                self._stream.flush()

    def _lines(self) -> Iterator[dict[str, object]]:
        for action in (WARM_UP, *self._task.actions):
            yield {"action": action}
            if action == self._dies_of:
                return
            if action == self._hangs_in:
                self._ended.wait(30)
                return
            yield (
                {"action": action, "value": 1} if action != "a" else {"action": "a", "error": "no"}
            )
        self.exitcode = 0
        yield {"action": END, "open_files": 3}

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end."""
        self._thread.join(timeout)

    def kill(self) -> None:
        """End it."""
        self.exitcode = -9
        self._ended.set()


def started(*, dies_of: str = "", hangs_in: str = "") -> Start:
    """Return what starts workers that die or hang."""

    def start(pipe: socket.socket, folder: Path, task: Task) -> FakeProcess:
        return FakeProcess(pipe, task, dies_of, hangs_in)

    return start


def lines_of(file: Path) -> list[tuple[str, object]]:
    """Return each action that was told of, with its value or its error."""
    found = [json.loads(line)["found"] for line in file.read_text().splitlines()]
    return [(each["action"], each.get("value", each.get("error"))) for each in found]


def test_an_action_that_fails_is_named(tmp_path: Path) -> None:
    """And the worker goes on."""
    file = tmp_path / "walls.jsonl"
    assert Trials(Findings(file), started()).level(TASK, 60.0) == ["a"]
    assert lines_of(file) == [(WARM_UP, 1), ("a", "no"), ("b", 1), ("c", 1), (END, None)]


def test_the_next_worker_goes_on_behind_what_one_dies_of(tmp_path: Path) -> None:
    """It is named with the way that the process ended."""
    file = tmp_path / "walls.jsonl"
    assert Trials(Findings(file), started(dies_of="b")).level(TASK, 60.0) == ["a", "b"]
    assert lines_of(file)[2:] == [
        ("b", "its process ended with 1"), (WARM_UP, 1), ("c", 1), (END, None),
    ]  # fmt: skip


def test_what_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And named once."""
    monkeypatch.setattr(trials, "ACTION_S", 0.0)  # a second is waited at least
    file = tmp_path / "walls.jsonl"
    assert Trials(Findings(file), started(hangs_in="c")).level(TASK, 60.0) == ["a", "c"]
    assert lines_of(file)[3:] == [("c", "it hangs, or the time was up"), (WARM_UP, 1), (END, None)]


def test_a_level_on_which_no_worker_warms_up_is_given_up(tmp_path: Path) -> None:
    """Another worker would not either."""
    file = tmp_path / "walls.jsonl"
    assert Trials(Findings(file), started(dies_of=WARM_UP)).level(TASK, 60.0) == [WARM_UP]
    assert len(lines_of(file)) == 1
