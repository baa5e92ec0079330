"""Many clients at once, for minutes: what is answered, and whether the probes still are.

    python -m benchmarks.load --clients 200 --keys 25 --seconds 120

Each client sends a small checkpoint, waits for the answer, and sends the next. With few keys the
limit for each key holds them back (429), with many the length of the queue (503). Nothing but 200,
429 and 503 may come back; `/livez`, asked all the time, must answer within 100 ms at the 99th
percentile; memory must stay bounded. Prints one JSON object; exits with 1 if not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import httpx
import torch
from torch import nn

from benchmarks.faults import state_of
from benchmarks.machine import describe
from tests.service.running import REAL, start, wait_for

ALLOWED = {200, 429, 503}
LIVEZ_P99_S = 0.1
GROWTH_MIB = 64


async def keep_sending(
    url: str, key: str, content: bytes, until: float, answers: Counter[int]
) -> None:
    """Be one client; wait as long as the service says when it is full."""
    limits = httpx.Limits(max_connections=1)
    async with httpx.AsyncClient(
        base_url=url,
        timeout=120,
        limits=limits,
        trust_env=False,
        headers={"Authorization": f"Bearer {key}"},
    ) as http:
        while time.monotonic() < until:
            # Without a name of its own, it would join the job of another client of this key.
            files = {"checkpoint": (f"{secrets.token_hex(4)}.pt", content)}
            response = await http.post("/convert", files=files, data={"smoke": "none"})
            answers[response.status_code] += 1
            if response.status_code != httpx.codes.OK:
                wait_s = float(response.headers.get("Retry-After", 1))
                await asyncio.sleep(min(wait_s, max(0.0, until - time.monotonic())))


async def keep_probing(url: str, until: float, latencies_s: list[float]) -> None:
    """Ask `/livez` ten times a second."""
    async with httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as http:
        while time.monotonic() < until:
            before = time.perf_counter()
            response = await http.get("/livez")
            assert response.status_code == httpx.codes.OK
            latencies_s.append(time.perf_counter() - before)
            await asyncio.sleep(0.1)


async def crowd(
    url: str, keys: list[str], content: bytes, clients: int, seconds: float
) -> Counter[int]:
    """Be all clients at once; they share the keys evenly."""
    until = time.monotonic() + seconds
    answers: Counter[int] = Counter()
    await asyncio.gather(
        *(
            keep_sending(url, keys[client % len(keys)], content, until, answers)
            for client in range(clients)
        )
    )
    return answers


def main() -> None:
    """Run the load, and print what came of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--keys", type=int, default=25)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--probe", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.probe:
        latencies_s: list[float] = []
        until = time.monotonic() + arguments.seconds
        asyncio.run(keep_probing(arguments.probe, until, latencies_s))
        print(json.dumps(latencies_s))
        return
    result = measure(arguments.clients, arguments.keys, arguments.seconds)
    print(json.dumps(result, indent=2))
    sys.exit(0 if result["passed"] else 1)


def measure(clients: int, key_count: int, seconds: float) -> dict[str, object]:
    """Start a service, load it, and return the figures."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.pt")
        torch.save(nn.Sequential(nn.Conv3d(2, 4, 3), nn.BatchNorm3d(4)).state_dict(), path)
        keys = [secrets.token_urlsafe(24) for _ in range(key_count)]
        keyfile = Path(folder, "keys")
        keyfile.touch(mode=0o600)
        keyfile.write_text("".join(f"client{n}:{key}\n" for n, key in enumerate(keys)))
        service = start(Path(folder), REAL, api_keys_file=keyfile, workers=None)
        try:
            service.wait_until_ready()
            before = state_of(service)
            answers, latencies_s = asyncio.run(
                load_and_probe(service.url, keys, path.read_bytes(), clients, seconds)
            )
            wait_for(lambda: not service.files(), within_s=60)
            after = state_of(service)
        finally:
            service.stop()
    p99_s = statistics.quantiles(latencies_s, n=100)[98]
    grown_mib = after["resident_mib"] - before["resident_mib"]
    return {
        "benchmark": "load",
        "clients": clients,
        "keys": key_count,
        "seconds": seconds,
        "answers": {str(status): count for status, count in sorted(answers.items())},
        "livez": {
            "requests": len(latencies_s),
            "median_s": round(statistics.median(latencies_s), 4),
            "p99_s": round(p99_s, 4),
        },
        "before": before,
        "after": after,
        "passed": set(answers) <= ALLOWED and p99_s < LIVEZ_P99_S and grown_mib < GROWTH_MIB,
        "machine": describe(),
    }


async def load_and_probe(
    url: str, keys: list[str], content: bytes, clients: int, seconds: float
) -> tuple[Counter[int], list[float]]:
    """Load the service from this process, and probe it from another, which nothing delays."""
    command = [sys.executable, "-m", "benchmarks.load", "--probe", url, "--seconds", str(seconds)]
    probe = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    answers = await crowd(url, keys, content, clients, seconds)
    output, _ = await probe.communicate()
    return answers, json.loads(output)


if __name__ == "__main__":
    main()
