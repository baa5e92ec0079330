"""Many small requests: how many `POST /convert` are answered a second, by how many clients.

    python -m benchmarks.requests --clients 1 2 4 8 16 32 --seconds 10 --work /dev/shm

A checkpoint of 1 MiB is sent again and again by so many clients at once, each over one connection,
to convlast and, in turn, to the service that anyone would write (`comparators/naive.py`, on uvloop
and httptools). convlast works on one job at a time, each in a process of its own; what waits longer
than its queue is told so with 503, and is counted apart. Prints one JSON object; exits with 1 if
anything else than 200 and 503 came back, or if fewer
than a tenth are answered for many clients than for one.
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.machine import describe
from benchmarks.serving import save_checkpoint, services

COMPARED = ("convlast", "tuned")
EXPECTED = {200, 503}
LEAST_SHARE = 0.1
BOUNDARY = "edge-of-a-part"
JOBS_PER_KEY = 64
"""All clients have one address here, which would be held to its share."""


def main() -> None:
    """Let each number of clients ask, and print what came of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--megabytes", type=float, default=1.0)
    parser.add_argument("--work", type=Path, help="a folder, best on tmpfs")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.work) as name:
        folder = Path(name)
        save_checkpoint(folder / "model.pt", arguments.megabytes)
        bodies = {name: _form(name, (folder / "model.pt").read_bytes()) for name in COMPARED}
        with services(folder, jobs_per_key=JOBS_PER_KEY) as (urls, _):
            results: list[dict[str, Any]] = [
                {
                    "clients": clients,
                    **{
                        name: ask(urls[name], bodies[name], clients, arguments.seconds)
                        for name in COMPARED
                    },
                }
                for clients in arguments.clients
            ]
    result = {
        "benchmark": "requests",
        "megabytes": arguments.megabytes,
        "results": results,
        "passed": _passes([each["convlast"] for each in results]),
        "machine": describe(),
    }
    print(json.dumps(result, indent=2))
    sys.exit(0 if result["passed"] else 1)


def _passes(found: list[dict[str, Any]]) -> bool:
    rates = [each["answers_per_s"] for each in found]
    codes = {code for each in found for code in each["codes"]}
    return codes <= EXPECTED and min(rates) >= LEAST_SHARE * rates[0]


def _form(name: str, content: bytes) -> bytes:
    """Write the form that is sent."""
    parts = [_part('name="checkpoint"; filename="m.pt"') + content]
    if name == "convlast":
        parts.append(_part('name="smoke"') + b"none")
    return b"\r\n".join([*parts, f"--{BOUNDARY}--\r\n".encode()])


def _part(parameters: str) -> bytes:
    return f"--{BOUNDARY}\r\nContent-Disposition: form-data; {parameters}\r\n\r\n".encode()


def ask(url: str, body: bytes, clients: int, seconds: float) -> dict[str, Any]:
    """Let so many clients ask as fast as they are answered; return rates and times."""
    until_s = time.perf_counter() + seconds
    taken_s: list[float] = []
    codes: Counter[int] = Counter()
    threads = [
        threading.Thread(target=_ask_on, args=(url, body, until_s, taken_s, codes))
        for _ in range(clients)
    ]
    began_s = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    whole_s = time.perf_counter() - began_s
    taken_s.sort()
    return {
        "answers_per_s": round(codes[200] / whole_s, 2),
        "codes": dict(sorted(codes.items())),
        "median_s": round(statistics.median(taken_s), 4) if taken_s else None,
        "p99_s": round(taken_s[int(len(taken_s) * 0.99)], 4) if taken_s else None,
    }


def _ask_on(
    url: str, body: bytes, until_s: float, taken_s: list[float], codes: Counter[int]
) -> None:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=120)
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    while time.perf_counter() < until_s:
        began_s = time.perf_counter()
        connection.request("POST", "/convert", body, headers)
        response = connection.getresponse()
        response.read()
        codes[response.status] += 1
        if response.status == 200:
            taken_s.append(time.perf_counter() - began_s)
        else:
            time.sleep(0.1)
    connection.close()


if __name__ == "__main__":
    main()
