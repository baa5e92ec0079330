"""SeaweedFS: a store that people run, with S3's conditional and multipart writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.service.running import free_port
from tests.stores.servers import Server, program, running


@contextmanager
def seaweedfs(folder: Path) -> Iterator[Server]:
    """Run it, on loopback alone, with all of its data in this folder."""
    parts = ("master", "volume", "filer", "s3")
    names = [f"{part}.port{kind}" for part in parts for kind in ("", ".grpc")]
    ports = {name: free_port() for name in names}
    command = [
        str(program("weed")), "server", "-s3", f"-dir={folder}",
        "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false",
        "-s3.port.iceberg=0", "-s3.port.lance=0", "-volume.max=0",
        "-master.volumeSizeLimitMB=256", *(f"-{name}={port}" for name, port in ports.items()),
    ]  # fmt: skip
    with running(command, ports["s3.port"], folder) as server:
        yield server
