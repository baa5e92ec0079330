"""The service as `docker compose up` runs it, under a project name of the tests' own."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from scripts.demo import free_port
from tests.container.engine import Engine

IMAGE = "convlast:test"
REVISION = "0123456789abcdef"
"""Stands for a commit."""

GPU = ("docker-compose.yml",)
CPU = (*GPU, "docker-compose.cpu.yml")
KEYS = (*CPU, "docker-compose.keys.yml")
PROJECT = "convlast-test"
WORK = "/var/lib/convlast/work"
LIST_FILES = "import pathlib, sys; print(*pathlib.Path(sys.argv[1]).rglob('*'), sep='\\n')"
FIND_WORKERS = """
import pathlib
parents = {}
for status in pathlib.Path("/proc").glob("[0-9]*/stat"):
    fields = status.read_text().rpartition(")")[2].split()
    parents[status.parent.name] = fields[1]
print(*(pid for pid in parents if parents.get(parents.get(parents[pid], "")) == "1"))
"""
"""Prints the processes that the fork server, whose parent is the service, has started."""


@dataclass
class Deployment:
    """One project of compose.

    Attributes:
        engine: Where it runs.
        files: The compose files.
        variables: What they read from the environment.
    """

    engine: Engine
    files: tuple[str, ...] = CPU
    variables: Mapping[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)

    @property
    def url(self) -> str:
        """Where it is published."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def container(self) -> str:
        """The name of its container."""
        return f"{PROJECT}-convlast-1"

    def compose(self, *arguments: str, check: bool = True) -> str:
        """Run a command of compose; give what it prints."""
        files = [word for file in self.files for word in ("-f", file)]
        return self.engine.docker(
            *("compose", "--project-name", PROJECT, *files, *arguments),
            check=check,
            **{
                "CONVLAST_IMAGE": IMAGE,
                "REVISION": REVISION,
                "PORT": str(self.port),
                **self.variables,
            },
        )

    def config(self) -> dict[str, Any]:
        """Give the service as compose reads it."""
        read: dict[str, Any] = json.loads(self.compose("config", "--format", "json"))
        service: dict[str, Any] = read["services"]["convlast"]
        return service

    def up(self) -> None:
        """Start it from the image that is there, and wait until it is healthy."""
        said = self.try_up("--wait", "--wait-timeout", "180")
        health = self.inspect()["State"]["Health"]["Status"]
        assert health == "healthy", said + self.compose("logs", check=False)

    def try_up(self, *options: str) -> str:
        """Start it, if it can be; give what compose says."""
        return self.compose("up", "-d", "--no-build", "--pull", "never", *options, check=False)

    def down(self) -> None:
        """Remove it, and its volume."""
        self.compose("down", "--volumes", "--timeout", "5")

    def inspect(self) -> dict[str, Any]:
        """Give what the engine knows of the container."""
        (known,) = json.loads(self.engine.docker("inspect", self.container))
        return dict(known)

    def inside(self, script: str, *arguments: str) -> str:
        """Run Python in the container, as its user; give what it prints."""
        return self.engine.docker("exec", self.container, "python3", "-c", script, *arguments)

    def files_at_work(self) -> set[str]:
        """Name what lies in the folders of jobs, workers and the store; a worker has two."""
        found = {line.removeprefix(f"{WORK}/") for line in self.inside(LIST_FILES, WORK).split()}
        return {
            name
            for name in found
            if name.startswith(("jobs/", "store/")) or name.count("/") > 1
            if not name.startswith("pymp-")
            if "/rehearsal-" not in name  # of a worker that warms up
            if not re.fullmatch(r"workers/\w+/(work|input)", name)
        }

    def client(self) -> httpx.Client:
        """Open a client of it."""
        return httpx.Client(base_url=self.url, timeout=120, trust_env=False)

    def convert(self, content: bytes, **more: Any) -> httpx.Response:
        """Send a checkpoint with these bytes as a form."""
        with self.client() as client:
            return client.post("/convert", files={"checkpoint": ("m.pt", content)}, **more)

    def ready(self) -> dict[str, Any]:
        """Give the answer of the probe."""
        with self.client() as client:
            answer: dict[str, Any] = client.get("/readyz").json()
        return answer

    def is_ready(self) -> bool:
        """Tell whether a job that comes now would be run."""
        try:
            with self.client() as client:
                return client.get("/readyz").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def taken(self) -> bool:
        """Tell whether a request uploads, waits or runs."""
        with self.client() as client:
            return "\nconvlast_places_taken 0.0" not in client.get("/metrics").text

    def workers(self) -> list[str]:
        """Give the processes of the workers, by their numbers inside."""
        return self.inside(FIND_WORKERS).split()

    def is_converting(self) -> bool:
        """Tell whether a worker has been given an upload: nobody may look into the worker."""
        return any(re.fullmatch(r"workers/\w+/input/upload", each) for each in self.files_at_work())
