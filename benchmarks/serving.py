"""`POST /convert` against what cannot be saved, and against the service that anyone would write.

    python -m benchmarks.serving --megabytes 450 1 --repeats 5 --work /dev/shm

Four services on loopback are sent the same checkpoint in turn, by curl:

    convlast  multipart up, zip down, `smoke=none`
    floor     raw upload to disk and download of the same bytes, with nothing in between
    naive     UploadFile, torch.load, convert, torch.save, FileResponse; on asyncio and h11, which
              FastAPI and uvicorn come with
    tuned     the same on uvloop and httptools, as convlast and the floor are

All of them take the SHA-256 of what came and of what goes, as the contract demands. Then convlast
alone is sent a file of 6 kB, with the default options and without the smoke. Prints one JSON
object; exits with 1 if something is beyond its limit.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import httpx

from benchmarks.checkpoints import save_checkpoint, save_tiny
from benchmarks.machine import describe
from benchmarks.peak import Peak
from tests.service.running import REAL, start, wait_for

TIMES_THE_FLOOR, TIMES_FASTER, SHARE_OF_MEMORY = 1.4, 2.5, 0.25
OTHERS = {
    "floor": ("floor",),
    "naive": ("naive", "asyncio", "h11"),
    "tuned": ("naive", "uvloop", "httptools"),
}
_PATH = [path for path in [os.environ.get("PYTHONPATH")] if path]
"""Behind it come the packages that only the other services need; see the Makefile."""

SMALL_MIB, ABOVE_THE_FLOOR_S = 16, 0.05

TINY_WITHIN_S, TINY_REPEATS = 0.2, 15
WARM_UP_S = 1.0
"""How long the next worker is given, so that no request waits for it."""

NO_SMOKE = ("-F", "smoke=none")


def main() -> None:
    """Measure each size, and print what came of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=float, nargs="+", default=[450, 1])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--work", type=Path, help="a folder, best on tmpfs")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.work) as folder:
        results = [
            measure(megabytes, arguments.repeats, Path(folder)) for megabytes in arguments.megabytes
        ]
        tiny = measure_tiny(Path(folder))
    result = {"benchmark": "serving", "results": results, "tiny": tiny, "machine": describe()}
    print(json.dumps(result, indent=2))
    sys.exit(0 if all(each["passed"] for each in (*results, tiny)) else 1)


def measure(megabytes: float, repeats: int, folder: Path) -> dict[str, object]:
    """Send one checkpoint to each service in turn, several times."""
    source = folder / "model.pt"
    save_checkpoint(source, megabytes)
    seconds: dict[str, list[float]] = {name: [] for name in ("convlast", *OTHERS)}
    with services(folder) as (urls, pids):
        memory_mib = {}
        for name, url in urls.items():  # this warms them up as well; looking at memory takes time
            with Peak(pids[name]) as peak:
                send_to(name, url, source, folder / "answer")
            memory_mib[name] = peak.idle_mib, peak.most_mib
        for _ in range(repeats):
            for name, url in urls.items():
                seconds[name].append(send_to(name, url, source, folder / "answer"))
    medians = {name: statistics.median(taken) for name, taken in seconds.items()}
    return {
        "megabytes": megabytes,
        "seconds": _told(seconds),
        "times_the_floor": round(medians["convlast"] / medians["floor"], 3),
        "above_the_floor_s": round(medians["convlast"] - medians["floor"], 4),
        "times_faster_than_naive": round(medians["naive"] / medians["convlast"], 3),
        "times_faster_than_tuned": round(medians["tuned"] / medians["convlast"], 3),
        "anonymous_mib": {
            name: {"idle": round(idle, 1), "peak": round(most, 1)}
            for name, (idle, most) in memory_mib.items()
        },
        "share_of_naive_memory_above_idle": round(_share(memory_mib), 3),
        "passed": _passes(megabytes, medians, memory_mib),
    }


def measure_tiny(folder: Path) -> dict[str, object]:
    """Send a file of 6 kB with the default options and without the smoke, in turn."""
    source = folder / "tiny.pt"
    save_tiny(source)
    ways: dict[str, Sequence[str]] = {"default": (), "smoke=none": NO_SMOKE}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    convlast = start(folder, REAL, None, workers=None)
    try:
        convlast.wait_until_ready()
        for _ in range(TINY_REPEATS):
            for name, fields in ways.items():
                time.sleep(WARM_UP_S)
                seconds[name].append(send(convlast.url, source, folder / "answer", fields))
    finally:
        convlast.stop()
    return {
        "bytes": source.stat().st_size,
        "seconds": _told(seconds),
        "passed": statistics.median(seconds["default"]) <= TINY_WITHIN_S,
    }


def _told(seconds: dict[str, list[float]]) -> dict[str, object]:
    return {
        name: {"median": round(statistics.median(taken), 4), "all": [round(s, 4) for s in taken]}
        for name, taken in seconds.items()
    }


def _passes(
    megabytes: float, medians: dict[str, float], memory_mib: dict[str, tuple[float, float]]
) -> bool:
    if megabytes < SMALL_MIB:
        return medians["convlast"] - medians["floor"] <= ABOVE_THE_FLOOR_S
    return (
        medians["convlast"] <= TIMES_THE_FLOOR * medians["floor"]
        and TIMES_FASTER * medians["convlast"] <= medians["naive"]
        and _share(memory_mib) <= SHARE_OF_MEMORY
    )


def _share(memory_mib: dict[str, tuple[float, float]]) -> float:
    """Return convlast's share of the naive service's memory, both above what they have idle."""
    above = {name: most - idle for name, (idle, most) in memory_mib.items()}
    return above["convlast"] / above["naive"]


@contextlib.contextmanager
def services(folder: Path) -> Iterator[tuple[dict[str, str], dict[str, int]]]:
    """Start all of them; yield where they listen, and their processes.

    Args:
        folder: Where they write.
    """
    convlast = start(folder, REAL, None, workers=None)
    try:
        convlast.wait_until_ready()
        with others(folder, OTHERS) as (urls, pids):
            yield {"convlast": convlast.url, **urls}, {"convlast": convlast.process.pid, **pids}
    finally:
        convlast.stop()


@contextlib.contextmanager
def others(folder: Path, names: Iterable[str]) -> Iterator[tuple[dict[str, str], dict[str, int]]]:
    """Start those of `OTHERS` that are named; yield where they listen, and their processes."""
    running = {name: _start(OTHERS[name], folder) for name in names}
    try:
        for process, port in running.values():
            wait_for(partial(_answers, port), within_s=60)
            assert process.poll() is None
        urls = {name: f"http://127.0.0.1:{port}" for name, (_, port) in running.items()}
        yield urls, {name: process.pid for name, (process, _) in running.items()}
    finally:
        for process, _ in running.values():
            process.terminate()
            process.wait(30)


def _start(command: Sequence[str], folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    module, *more = command
    command = [
        sys.executable,
        "-m",
        f"benchmarks.comparators.{module}",
        str(port),
        str(folder),
        *more,
    ]
    environment = {
        **os.environ,
        "TMPDIR": str(folder),  # where UploadFile spools
        "PYTHONPATH": os.pathsep.join([*_PATH, str(Path(sys.prefix, "compared"))]),
    }
    return subprocess.Popen(command, env=environment), port


def _answers(port: int) -> bool:
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(f"http://127.0.0.1:{port}/", trust_env=False).status_code < 500
    return False


def send_to(name: str, url: str, source: Path, answer: Path) -> float:
    """Send the checkpoint as one would to this service; return the seconds that it took."""
    if name == "floor":
        return _curl(["-X", "POST", "-T", str(source)], url, answer)
    return send(url, source, answer, NO_SMOKE if name == "convlast" else ())


def send(url: str, source: Path, answer: Path, fields: Sequence[str]) -> float:
    """Send the checkpoint as a form with these fields; return the seconds that it took."""
    return _curl(["-F", f"checkpoint=@{source}", *fields], url, answer)


def _curl(how: Sequence[str], url: str, answer: Path) -> float:
    command = ["curl", "-fsS", "--noproxy", "*", "-o", str(answer), *how, f"{url}/convert"]
    began_s = time.perf_counter()
    subprocess.run(command, check=True)
    return time.perf_counter() - began_s


if __name__ == "__main__":
    main()
