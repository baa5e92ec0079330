"""The most anonymous memory that a process and its descendants have at once."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Self

from tests.service.running import descendants_of

INTERVAL_S = 0.01


class Peak:
    """The largest sum seen, by looking again and again.

    Pages that forked processes share count once.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.idle_mib = self.most_mib = anonymous_mib(pid)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(INTERVAL_S):
            self.most_mib = max(self.most_mib, anonymous_mib(self._pid))


def anonymous_mib(pid: int) -> float:
    """Return what a process and its descendants have now."""
    return sum(share_kib(each, "Pss_Anon") for each in {pid, *descendants_of(pid)}) / 1024


def share_kib(pid: int, field: str) -> int:
    """Return a process's share of the memory that it uses, in KiB; 0 if it has ended.

    Args:
        pid: The process.
        field: `Pss`, or `Pss_Anon` without what belongs to files.
    """
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))
