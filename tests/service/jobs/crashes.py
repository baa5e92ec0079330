"""Crashes: a step stopped before one of its changes to the disk, and what is flushed by then."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

_CHANGES = ("link", "rename", "unlink", "mkdir", "rmdir", "fsync", "chmod")


class Crash(BaseException):
    """The process has ended: nothing after this changes the disk."""


class Disk:
    """Counts the changes of the disk, and notes which of them a power failure could undo.

    Attributes:
        changes: How many changes there were.
        crash_before: The number of the change before which the process ends.
        unflushed: Names that are not on disk yet, and files whose bytes may not be.
        on_change: Called with each change and its last path, before it is made.
    """

    def __init__(self) -> None:
        self.changes = 0
        self.crash_before: int | None = None
        self.unflushed: set[Path] = set()
        self.on_change: Callable[[str, Path], None] = lambda *_: None

    def _changed(self, name: str, call: Callable[..., Any], *args: Any, **more: Any) -> Any:
        if self.crash_before is not None and self.changes >= self.crash_before:
            raise Crash
        self.changes += 1
        path = _path_of(args[1] if name in ("link", "rename") else args[0])
        self.on_change(name, path)
        result = call(*args, **more)
        if name in ("link", "mkdir", "rename"):
            self.unflushed.add(path)
        elif name == "fsync":
            self._flush(path)
        return result

    def _flush(self, path: Path) -> None:
        """Note that a file's bytes, or the names in a folder, are on disk."""
        if path.is_dir():
            self.unflushed = {each for each in self.unflushed if each.parent != path}

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Watch the changes that are made meanwhile."""
        with pytest.MonkeyPatch.context() as patch:
            for name in _CHANGES:
                patch.setattr(os, name, self._watching(name, getattr(os, name)))
            yield

    def _watching(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args, **more: self._changed(name, call, *args, **more)


def _path_of(named: Any) -> Path:
    """Return the path of a file that is named or open."""
    return Path(f"/proc/self/fd/{named}").readlink() if isinstance(named, int) else Path(named)


@contextmanager
def crashing(before: int | None) -> Iterator[Disk]:
    """Stop the steps inside before their change with this number; none: do not stop them."""
    disk = Disk()
    disk.crash_before = before
    with suppress(Crash), disk.watched():
        yield disk
