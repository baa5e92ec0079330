"""How deploy/image/cluster.sh starts and ends a replica, with programs that stand in for Python."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.container.engine import ROOT
from tests.service.running import wait_for

SERVICE, NODE = "service", "service.ray_engine"
FAKE = """#!/bin/bash
trap '[ "$2" != service ] || sleep 0.3; echo "$2 ended" >>"$LOG"; exit "$STATUS"' TERM
echo "$2 $$ $CONVLAST_DEVICE" >>"$LOG"
while :; do read -r -t 0.05 <>"$NEVER" || true; done
"""
"""Tells its process and its device, and goes on until SIGTERM; the service drains for a while."""


@dataclass
class Replica:
    """The script at work.

    Attributes:
        process: The shell that runs it.
        log: Has a line for each start of a program, and for each end by SIGTERM.
    """

    process: subprocess.Popen[bytes]
    log: Path

    def told(self) -> list[list[str]]:
        """Return the words of each line, of which the first names a program."""
        return [line.split() for line in self.log.read_text().splitlines()]

    def starts(self, program: str) -> list[list[str]]:
        """Return the process and the device of each start of a program."""
        return [more for name, *more in self.told() if name == program and more != ["ended"]]

    def kill(self, program: str) -> None:
        """End the latest process of a program without a warning."""
        os.kill(int(self.starts(program)[-1][0]), signal.SIGKILL)


@pytest.fixture
def status() -> int:
    """What the service ends with."""
    return 0


@pytest.fixture
def replica(tmp_path: Path, status: int) -> Iterator[Replica]:
    """Start a replica, in folders of its own, until both of its programs run."""
    programs, credentials, never, log = (
        tmp_path / name for name in ("programs", "credentials", "never", "log")
    )
    programs.mkdir()
    credentials.mkdir()
    os.mkfifo(never)
    log.touch()
    (credentials / "store.env").write_text("AWS_ACCESS_KEY_ID=known\n")
    (programs / "python3").write_text(FAKE)
    (programs / "python3").chmod(0o755)
    script = (ROOT / "deploy/image/cluster.sh").read_text()
    script = script.replace("/etc/convlast/store", str(credentials))
    script = script.replace("/var/lib/convlast/ray", str(tmp_path / "ray"))
    environment = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "LOG": str(log),
        "NEVER": str(never),
        "STATUS": str(status),
        "CONVLAST_DEVICE": "cuda",
    }
    with subprocess.Popen(
        ["bash", "-c", script, "cluster", "replica"], env=environment, start_new_session=True
    ) as process:
        replica = Replica(process, log)
        try:
            wait_for(lambda: replica.starts(SERVICE) and replica.starts(NODE))
            yield replica
        finally:
            for pid in living(process.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def living(session: int) -> set[int]:
    """Return the processes of a session, apart from those that have ended and wait for a parent."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, _, of, *_ = path.read_text().rpartition(")")[2].split()
            if int(of) == session and state != "Z":
                found.add(int(path.parent.name))
    return found


def test_a_node_is_started_again_beside_the_service(replica: Replica) -> None:
    """A node ends with its head; the service, which finds the next one, is not touched."""
    replica.kill(NODE)
    wait_for(lambda: len(replica.starts(NODE)) == 2)
    replica.kill(NODE)
    wait_for(lambda: len(replica.starts(NODE)) == 3)
    assert {device for _, device in replica.starts(NODE)} == {"cpu"}
    assert replica.process.poll() is None
    ((service, device),) = replica.starts(SERVICE)
    assert (int(service) in living(replica.process.pid), device) == (True, "cuda")


@pytest.mark.parametrize("status", [0, 3])
def test_the_service_ends_first_and_tells_its_status(replica: Replica, status: int) -> None:
    """SIGTERM is for the service; then the node ends, and what would start it again."""
    replica.process.terminate()
    assert replica.process.wait(timeout=60) == status
    wait_for(lambda: not living(replica.process.pid))
    assert replica.told()[2:] == [[SERVICE, "ended"], [NODE, "ended"]]


def test_nothing_is_left_of_a_service_that_dies(replica: Replica) -> None:
    """The engine starts the container again, and sees why it ended."""
    replica.kill(SERVICE)
    assert replica.process.wait(timeout=60) == 128 + signal.SIGKILL
    wait_for(lambda: not living(replica.process.pid))
