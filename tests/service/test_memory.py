from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

from tests.service.running import Running, Serve

SIZE_BYTES = 512 << 20
CHUNK_BYTES = 1 << 20


def zeros() -> Iterator[bytes]:
    """Yield a large body in pieces."""
    for _ in range(SIZE_BYTES // CHUNK_BYTES):
        yield bytes(CHUNK_BYTES)


def peak_bytes(pid: int) -> int:
    """Return the peak resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) << 10
    raise LookupError(pid)


def test_a_large_body_goes_up_and_down_without_filling_memory(serve: Serve) -> None:
    """Half a gigabyte passes through a process that stays under 150 MB."""
    service = serve()
    headers = {"Content-Type": "application/octet-stream", "Content-Length": str(SIZE_BYTES)}
    received_bytes = crc32 = 0
    with (
        service.client() as client,
        client.stream("POST", "/convert", content=zeros(), headers=headers) as response,
    ):
        assert response.status_code == 200
        for chunk in response.iter_raw():
            received_bytes += len(chunk)
            crc32 = zlib.crc32(chunk, crc32)
    assert received_bytes == int(response.headers["content-length"]) >= SIZE_BYTES
    assert peak_bytes(service.process.pid) < 150 << 20


def test_workers_share_what_the_fork_server_has_made(service: Running) -> None:
    """The garbage collector visits no object of the fork server, which would copy its pages."""
    with service.client() as client:
        assert client.get("/version").json()["frozen_objects"] > 10_000
