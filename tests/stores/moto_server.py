"""moto: what answers as AWS does, in memory; strict where others are not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.service.running import free_port
from tests.stores.servers import Server, program, running


@contextmanager
def moto(folder: Path) -> Iterator[Server]:
    """Run it on loopback."""
    port = free_port()
    command = [str(program("moto_server")), "-H", "127.0.0.1", "-p", str(port)]
    with running(command, port, folder) as server:
        yield server
