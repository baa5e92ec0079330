"""What a job takes: the anonymous memory of its worker above what it was at rest."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable
from pathlib import Path

INTERVAL_S = 0.001


class Watch:
    """How far the anonymous memory of any process goes above what it is now, by looking often."""

    def __init__(self, pids: Iterable[int]) -> None:
        self._before = {pid: _anonymous_mib(pid) for pid in pids}
        self.mib = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(INTERVAL_S):
            grown = (_anonymous_mib(pid) - before for pid, before in self._before.items())
            self.mib = max(self.mib, *grown)


def _anonymous_mib(pid: int) -> float:
    try:
        found = re.search(r"RssAnon:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0.0
    return int(found[1]) / 1024 if found else 0.0
