"""Hundreds of clients that wait for the end of jobs, and what they cost meanwhile.

    python -m benchmarks.jobs.followers --followers 500 --seconds 30

Half of the clients listen to event streams, half of them send `GET /jobs/{id}?wait=25`, all from
one address. The jobs are of a fake task that reports progress twenty times a second. All clients
must be told of the end; `/livez`, asked by another process, must answer within its limit at the
99th percentile, and the HTTP process must stay below its limit of memory. Prints one JSON object;
exits with 1 if not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx

from benchmarks.machine import describe
from convlast.jobs import FINISHED
from tests.service.running import FAKE, Running, start

JOBS = 2
"""They run at once, so that all clients wait for ends that are known."""
LIVEZ_P99_S = 0.1
RESIDENT_MIB = 150
TOLD_WITHIN_S = 15.0
"""How long after the end of the jobs the last client may be told."""

WAIT_S = 25


def main() -> None:
    """Let the clients wait, and print what came of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--followers", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=30, help="how long the jobs run")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = settings_for(arguments.followers)
        service = start(Path(folder), FAKE, None, **settings)
        try:
            service.wait_until_ready()
            result = asyncio.run(follow(service, arguments.followers, arguments.seconds))
        finally:
            service.stop()
    print(json.dumps({**result, "machine": describe()}, indent=2))
    sys.exit(0 if result["passed"] else 1)


def settings_for(followers: int) -> dict[str, Any]:
    """Return settings with room for so many clients: one address may have three quarters."""
    room = followers * 4 // 3 + 64
    # The memory of one worker is left for inspections.
    return {"workers": JOBS + 1, "max_followers": room, "max_connections": room}


async def follow(service: Running, followers: int, seconds: float) -> dict[str, Any]:
    """Start jobs, follow them to their ends, and return the figures."""
    idle_mib = resident_mib(service, "VmRSS")
    probing = await _start_probe(service.url, seconds)
    jobs = [await _submit(service, b"counts %g #%d" % (seconds, n)) for n in range(JOBS)]
    began_s = time.monotonic()
    clients = [
        asyncio.create_task((_listen if number % 2 else _wait)(service, jobs[number // 2 % JOBS]))
        for number in range(followers)
    ]
    await asyncio.sleep(seconds / 2)
    open_at_once = service.metric("convlast_followers")
    _, late = await asyncio.wait(clients, timeout=seconds / 2 + TOLD_WITHIN_S)
    for client in late:
        client.cancel()
    found = await asyncio.gather(*clients, return_exceptions=True)
    output, _ = await probing.communicate()
    latencies_s: list[float] = json.loads(output)
    p99_s = statistics.quantiles(latencies_s, n=100)[98]
    most_mib = resident_mib(service, "VmHWM")
    told = Counter(each if isinstance(each, str) else repr(each) for each in found)
    is_told = told == {"succeeded": followers}
    return {
        "benchmark": "followers",
        "followers": followers,
        "open_at_once": int(open_at_once),
        "seconds": round(time.monotonic() - began_s, 1),
        "told": dict(told),
        "livez": {
            "requests": len(latencies_s),
            "median_s": round(statistics.median(latencies_s), 4),
            "p99_s": round(p99_s, 4),
        },
        "resident_mib": {"idle": idle_mib, "peak": most_mib},
        "passed": is_told and p99_s < LIVEZ_P99_S and most_mib < RESIDENT_MIB,
    }


async def _start_probe(url: str, seconds: float) -> asyncio.subprocess.Process:
    """Ask `/livez` from a process that nothing delays."""
    command = [sys.executable, "-m", "benchmarks.load", "--probe", url, "--seconds", str(seconds)]
    return await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)


async def _submit(service: Running, content: bytes) -> str:
    headers = {"Content-Type": "application/octet-stream", "Prefer": "respond-async"}
    async with httpx.AsyncClient(base_url=service.url, trust_env=False, timeout=30) as client:
        answer = await client.post("/convert", content=content, headers=headers)
    assert answer.status_code == httpx.codes.ACCEPTED, answer.text
    return str(answer.json()["id"])


async def _listen(service: Running, job_id: str) -> str:
    """Listen to the events of a job; return its last state."""
    state = "none"
    async for line in _lines(service, f"/jobs/{job_id}/events"):
        if line.startswith(b"data: "):
            state = json.loads(line.removeprefix(b"data: "))["state"]
    return state


async def _wait(service: Running, job_id: str) -> str:
    """Ask for a job until it has ended; return its last state."""
    state = "none"
    while state not in FINISHED:
        async for line in _lines(service, f"/jobs/{job_id}?wait={WAIT_S}"):
            if line.startswith(b"{"):
                state = json.loads(line)["state"]
    return state


async def _lines(service: Running, path: str) -> AsyncIterator[bytes]:
    """Yield the lines of an answer; hundreds of connections of httpx would take more time.

    Raises:
        RuntimeError: If it is refused.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    try:
        head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        writer.write(head.encode())
        status = await reader.readline()
        if b" 200 " not in status:
            raise RuntimeError(status.decode())
        while line := await reader.readline():
            yield line
    finally:
        writer.close()


def resident_mib(service: Running, name: str) -> float:
    """Return the resident memory of the HTTP process: `VmRSS` now, `VmHWM` at most."""
    lines = Path(f"/proc/{service.process.pid}/status").read_text().splitlines()
    [kib] = [int(line.split()[1]) for line in lines if line.startswith(f"{name}:")]
    return round(kib / 1024, 1)


if __name__ == "__main__":
    main()
