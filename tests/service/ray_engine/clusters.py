"""A Ray cluster of several nodes on this machine, in a network of its own."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from tests.service.running import ROOT, descendants_of, wait_for

HEAD = "127.0.0.1:6379"
PARTS_S = 120.0
_GET_FLAGS, _UP = 0x8913, 1  # SIOCGIFFLAGS and IFF_UP
SECRET = secrets.token_hex(32)
"""What a node has in its environment to reach the store."""


def is_present() -> bool:
    """Return whether Ray is here, and nobody else can reach it: see `scripts/alone.sh`."""
    return find_spec("ray") is not None and is_alone()


def is_alone() -> bool:
    """Return whether this is a network of its own, where nothing but `lo` is up.

    The script says which network it was started in. A machine that is only offline may have
    nothing else up either, but not for long.
    """
    outside = os.environ.get("OUTSIDE_NETWORK")
    is_own = outside not in (None, str(Path("/proc/self/ns/net").readlink()))
    return is_own and [name for _, name in socket.if_nameindex() if _is_up(name)] == ["lo"]


def _is_up(interface: str) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        answer = fcntl.ioctl(asking, _GET_FLAGS, struct.pack("40s", interface.encode()))
    (flags,) = struct.unpack_from("16xH", answer)
    return bool(flags & _UP)


@dataclass
class Part:
    """The head, or a node."""

    process: subprocess.Popen[bytes]
    log: Path

    def pids(self, *words: str) -> list[int]:
        """Return the processes below it whose command line has all of these words."""
        return [pid for pid in descendants_of(self.process.pid) if holds(pid, words)]

    def wait_until_up(self) -> None:
        """Wait until Ray has started all that belongs to it."""
        # Two nodes that start at once would take the same names in Ray's folder.
        wait_for(self._is_up, within_s=PARTS_S)

    def _is_up(self) -> bool:
        assert self.process.poll() is None, self.log.read_text(errors="replace")[-3000:]
        return bool(self.pids("RuntimeEnvAgent"))

    def kill(self) -> None:
        """Kill all of it, as a machine that loses power."""
        everything = {self.process.pid, *descendants_of(self.process.pid)}
        for pid in everything:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


@dataclass
class RayNodes:
    """A head, and its nodes, each with one slot on the CPU, or with one for each of its GPUs."""

    folder: Path
    environment: dict[str, str]
    device: str = "cpu"
    head: Part = field(init=False)
    nodes: list[Part] = field(default_factory=list)

    @property
    def settings(self) -> dict[str, object]:
        """The settings of a service that uses it."""
        return {
            "engine": "ray",
            "device": self.device,
            "ray_address": HEAD,
            "ray_token_file": self.token,
            "store": f"file://{self.folder}/store/",
        }

    @property
    def token(self) -> Path:
        """The file of its token."""
        return self.folder / "token"

    def add(self) -> Part:
        """Start a node."""
        temporary = self.folder / f"n{len(self.nodes)}"
        environment = self.environment | {"CONVLAST_WORK_DIR": str(temporary / "work")}
        node = start(self.folder / f"{temporary.name}.log", environment, "node")
        self.nodes.append(node)
        node.wait_until_up()
        return node

    def start_head(self) -> None:
        """Start a head, which knows nothing of an earlier one."""
        temporary = tempfile.mkdtemp(prefix="r", dir=self.folder)
        self.head = start(
            self.folder / "head.log", self.environment, "head", f"--temp-dir={temporary}"
        )
        self.head.wait_until_up()

    def kill(self) -> None:
        """Kill all parts."""
        for part in (*self.nodes, self.head):
            part.kill()
        self.nodes.clear()

    def actors(self) -> list[int]:
        """Return the processes of the slots."""
        return [pid for node in self.nodes for pid in node.pids("ray::SlotActor")]


@contextmanager
def started(nodes: int = 3, device: str = "cpu", **settings: str) -> Iterator[RayNodes]:
    """Start a cluster, and kill it in the end; `settings` are further ones of its nodes."""
    # Not below the folder of a test: the paths of Ray's sockets would be too long.
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
    environment = {
        "AWS_SECRET_ACCESS_KEY": SECRET,
        **{name: value for name, value in os.environ.items() if "CONVLAST" not in name},
        "CONVLAST_RAY_ADDRESS": HEAD,
        "CONVLAST_RAY_TOKEN_FILE": str(folder / "token"),
        "CONVLAST_DEVICE": device,
        "CONVLAST_WORKERS": "1",
        **{f"CONVLAST_{name.upper()}": value for name, value in settings.items()},
    }
    cluster = RayNodes(folder, environment, device)
    try:
        cluster.start_head()
        for _ in range(nodes):
            cluster.add()
        yield cluster
    finally:
        cluster.kill()
        shutil.rmtree(folder, ignore_errors=True)


def start(log: Path, environment: dict[str, str], part: str, *more: str) -> Part:
    """Start a part of a cluster."""
    program = [sys.executable, "-m", "service.ray_engine", part]
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*program, "--node-ip-address=127.0.0.1", *more],
            env=environment, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
    return Part(process, log)


def holds(pid: int, words: tuple[str, ...]) -> bool:
    """Return whether the command line of a process has all of these words."""
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return False
    return all(word in line for word in words)


def at_work(content: bytes) -> list[int]:
    """Return the processes that have a file with this content open: those of the job."""
    found = []
    for folder in Path("/proc").glob("[0-9]*/fd"):
        try:
            links = [each.readlink() for each in folder.iterdir()]
            has = any(link.name == "upload" and link.read_bytes() == content for link in links)
        except OSError:
            continue
        if has:
            found.append(int(folder.parent.name))
    return found
