"""Runs a service for tests in a process of its own, on a free port of loopback."""

from __future__ import annotations

import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[2]
START_S = 180.0
FAKE, REAL = "tests.service.fake_service", "service"


@dataclass
class Running:
    """A running service."""

    process: subprocess.Popen[bytes]
    port: int
    work_dir: Path
    log: Path

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self.port}"

    def client(self, **more: Any) -> httpx.Client:
        """Open a client for it."""
        return httpx.Client(base_url=self.url, timeout=60, trust_env=False, **more)

    def convert(self, content: bytes, filename: str = "m.pt", **more: Any) -> httpx.Response:
        """Send these bytes as a checkpoint in a form."""
        with self.client() as client:
            return client.post("/convert", files={"checkpoint": (filename, content)}, **more)

    def connect(self) -> socket.socket:
        """Open a raw connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def files(self) -> set[str]:
        """Return the files in its work folder, as relative paths, apart from permanent ones."""
        # Not by `rglob`, which raises if a folder is removed meanwhile.
        found = {
            str(Path(folder, name).relative_to(self.work_dir))
            for folder, folders, names in os.walk(self.work_dir)
            for name in (*folders, *names)
        }
        found -= {"jobs", "store", "inputs", "lock", "probe", "workers"}
        # Each idle worker has its folders, with the files of its warm-up and, for a moment, of its
        # output.
        waiting = re.compile(r"workers/[0-9a-f]{16}(/output|/input|/work(/rehearsal-.*)?)?")
        return {name for name in found if not waiting.fullmatch(name)}

    def settled_files(self) -> set[str]:
        """Wait until no job and no ended worker has a file, and return those that are kept."""
        kept = ("store/", "inputs/")
        wait_for(lambda: all(name.startswith(kept) for name in self.files()))
        return self.files()

    def descendants(self) -> set[int]:
        """Return the ids of all processes below it."""
        return descendants_of(self.process.pid)

    def metric(self, name: str) -> float:
        """Read a metric without labels."""
        for line in httpx.get(f"{self.url}/metrics", trust_env=False).text.splitlines():
            if line.startswith(f"{name} "):
                return float(line.split()[1])
        raise LookupError(name)

    def wait_until_ready(self) -> None:
        """Wait until the first worker is warm."""
        wait_for(self._is_ready, within_s=START_S)

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text() if self.log.is_file() else self.log
        try:
            return httpx.get(f"{self.url}/readyz", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    def stop(self) -> int:
        """Send SIGTERM, wait, and return the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


Serve = Callable[..., Running]


def wait_for(condition: Callable[[], object], *, within_s: float = 60.0) -> None:
    """Wait until a condition is true, and fail at the time limit."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "the condition was not true in time"
        time.sleep(0.02)


def descendants_of(pid: int) -> set[int]:
    """Return the ids of all processes below one."""
    parents: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            after_name = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if after_name[0] != "Z":
            parents.setdefault(int(after_name[1]), []).append(int(status.parent.name))
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        children = parents.get(waiting.pop(), [])
        found.update(children)
        waiting += children
    return found


def start(folder: Path, module: str = FAKE, log: Path | None = None, **settings: object) -> Running:
    """Start a service; `settings` are fields of `service.settings.Settings`."""
    return start_at(ROOT, folder, module, log, settings)


@contextmanager
def served(folder: Path, module: str = FAKE, **settings: object) -> Iterator[Running]:
    """Start a service, yield it when it is ready, and kill it in the end."""
    running = start_at(ROOT, folder, module, None, settings)
    try:
        running.wait_until_ready()
        yield running
    finally:
        running.process.kill()
        running.process.wait()


def start_at(
    root: Path, folder: Path, module: str, log: Path | None, settings: Mapping[str, object]
) -> Running:
    """Start a service of any checkout.

    Args:
        root: The checkout.
        folder: For the work folder and the log, unless these are named.
        module: What to run.
        log: The file for its output.
        settings: Fields of `service.settings.Settings`; None for the service's own default. By
            default the port is a free one, and there is one worker.
    """
    values = {"work_dir": folder / "work", "port": free_port(), "workers": 1, **settings}
    given = {name: str(value) for name, value in values.items() if value is not None}
    environment = {f"CONVLAST_{name.upper()}": value for name, value in given.items()}
    log = log or folder / "log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", module],
            cwd=root,
            env={**os.environ, **environment},
            stdout=output,
            stderr=output,
        )
    return Running(process, int(str(values["port"])), Path(str(values["work_dir"])), log)


def free_port() -> int:
    """Return a port of loopback on which nobody listens, and which no client gets by chance."""
    while True:
        port = 10_000 + secrets.randbelow(20_000)  # where Linux takes none for clients
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
