"""The servers of the tests of stores: real programs, in an environment of their own."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from convlast.stores.address import Address
from tests.service.running import wait_for

ENVIRONMENT = Path(__file__).parents[2] / ".venv" / "stores"
PROGRAMS = ("weed", "moto_server")
BUCKET = "bucket"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "key-of-the-tests",
    "AWS_SECRET_ACCESS_KEY": "secret-of-the-tests",
    "AWS_REGION": "us-east-1",
}


def program(name: str) -> Path:
    """Return where a program is, if it is installed."""
    return ENVIRONMENT / "bin" / name


def are_present() -> bool:
    """Return whether `make stores` has installed all of them."""
    return all(program(name).is_file() for name in PROGRAMS)


@dataclass(frozen=True)
class Server:
    """A server with one bucket.

    Attributes:
        port: Its port of loopback.
        pid: Its process.
    """

    port: int
    pid: int

    @property
    def endpoint(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def unfinished(self, folder: Address) -> int:
        """Return how many uploads in parts were neither finished nor removed."""
        asked = {"uploads": "", "prefix": folder.key}
        answer = httpx.get(f"{self.endpoint}/{folder.root}", params=asked)
        answer.raise_for_status()
        return answer.text.count("<UploadId>")

    def is_ready(self) -> bool:
        """Return whether the bucket is there and takes an object."""
        try:
            httpx.put(f"{self.endpoint}/{BUCKET}", timeout=10)
            answer = httpx.put(f"{self.endpoint}/{BUCKET}/ready", content=b"ready", timeout=10)
        except httpx.TransportError:
            return False
        return answer.status_code == 200


@contextmanager
def running(command: list[str], port: int, folder: Path) -> Iterator[Server]:
    """Run a server until the end of the block, and until it has left its ports."""
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output)
    server = Server(port, process.pid)
    try:
        wait_for(lambda: process.poll() is not None or server.is_ready(), within_s=120)
        assert process.poll() is None, log.read_text()[-2000:]
        yield server
    finally:
        process.kill()  # nobody needs its data, and SeaweedFS ends slowly otherwise
        process.wait()
