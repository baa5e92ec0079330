"""The fake task, which can also attack what surrounds a slot."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from convlast.errors import UnsafeCheckpointError
from service.workers.messages import LocalJob
from tests.service import fakes
from tests.service.fakes import probe, run, warm

__all__ = ["probe", "run", "warm"]

HEAD_PORT = 6379
KNOWN = "5a" * 32
"""A text that is in the memory of every worker, and shows that it is searched."""


def _attacks(job: LocalJob, words: list[bytes]) -> None:
    """`attacks TOKEN_FILE STORE SHA256...`: try everything, and refuse with what has worked.

    The digests are those of texts of 64 hexadecimal digits, which are looked for in the memory.
    """
    words = job.source.read_bytes().split()[1:]  # the fake task reads only a few
    token_file, store = (Path(word.decode()) for word in words[:2])
    parent = Path(f"/proc/{os.getppid()}")
    attempts: dict[str, Callable[[], object]] = {
        "connects": lambda: socket.create_connection(("127.0.0.1", HEAD_PORT), timeout=5),
        "sends": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
        "talks to the raylet": lambda: socket.socket(socket.AF_UNIX),
        "runs a program": lambda: subprocess.run(["/bin/true"], check=True),
        "runs Ray": lambda: subprocess.run([sys.executable, "-m", "ray", "status"], check=True),
        "reads the token": token_file.read_bytes,
        "lists the store": lambda: list(store.iterdir()),
        "lists the other slots": lambda: list(job.folder.parents[4].iterdir()),
        "reads the environment of its parent": (parent / "environ").read_bytes,
        "reads the memory of its parent": lambda: (parent / "mem").open("rb"),
        "lists the files of its parent": lambda: list((parent / "fd").iterdir()),
        "reads the shared memory": lambda: list(Path("/dev/shm").iterdir()),  # noqa: S108
    }
    worked = [name for name, attempt in attempts.items() if _works(attempt)]
    worked += [f"has {name}" for name in os.environ if re.match("RAY_|AWS_|CONVLAST_", name)]
    worked += ["has an environment"] * any(Path("/proc/self/environ").read_bytes())
    digests = {word.decode() for word in words[2:]}
    worked += [f"remembers {digest}" for digest in sorted(digests & set(_remembered()))]
    raise UnsafeCheckpointError("This is what worked.", names=worked)


def _works(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except OSError:
        return False
    return True


def _remembered() -> Iterator[str]:
    """Yield the digest of each text of 64 hexadecimal digits in what this process can write to."""
    with Path("/proc/self/mem").open("rb") as memory:
        for line in Path("/proc/self/maps").read_text().splitlines():
            place, rights = line.split()[:2]
            if not rights.startswith("rw"):
                continue
            start, end = (int(each, 16) for each in place.split("-"))
            memory.seek(start)
            for found in re.findall(rb"[0-9a-f]{64,}", memory.read(end - start)):
                yield hashlib.sha256(found).hexdigest()


fakes.VERBS["attacks"] = _attacks
