"""The service on the GPU: how soon it is ready, what it converts, and how many jobs a second.

    python -m scripts.gpu.service --into FILE --log FILE [--checkpoints FOLDER] [--rehearse] [--ray]

Each job has a process of its own, which starts CUDA while it waits for work: in a row of small jobs
that start, and not the job, is what the next one waits for. With `--ray` the jobs run on a Ray
cluster of one node on this machine, which nobody else must reach.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import httpx

from scripts.gpu.device import Device
from scripts.gpu.findings import Findings
from scripts.gpu.jobs import Job, jobs, small_file, told
from tests.service.ray_engine.clusters import started
from tests.service.running import REAL, Running, start

_LEAST_S = 3.0
"""With less time left no further job is begun."""

_STEADY_JOBS = 2
"""Jobs of which a rate is made, at least."""


def main() -> None:
    """Start the service, let it work, and stop it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--into", type=Path, required=True, metavar="FILE")
    parser.add_argument("--log", type=Path, required=True, metavar="FILE", help="of the service")
    parser.add_argument("--checkpoints", type=Path, default=Path(".gpu/checkpoints"))
    parser.add_argument("--limit-s", type=float, default=75.0)
    parser.add_argument("--rate-s", type=float, default=8.0, help="for each rate of small jobs")
    parser.add_argument("--rehearse", action="store_true", help="on the CPU, in small")
    parser.add_argument("--ray", action="store_true", help="on a Ray cluster of one node")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # not before the service is
    findings, device = Findings(arguments.into), Device(is_gpu=not arguments.rehearse)
    until_s = time.monotonic() + device.allowed_s(arguments.limit_s)
    for_s = 0.0 if arguments.rehearse else arguments.rate_s
    engine = cluster if arguments.ray else this_machine
    with (
        tempfile.TemporaryDirectory(prefix="service-") as name,
        ThreadPoolExecutor(1) as aside,
        engine(device.where.type) as settings,
    ):
        folder, began_s = Path(name), time.monotonic()
        service = start(folder, REAL, arguments.log, **settings)
        try:
            making = aside.submit(jobs, folder, arguments.checkpoints, rehearse=arguments.rehearse)
            if findings.run("ready", partial(ready, service, began_s, until_s)):
                with service.client() as client:
                    work = Work(client, findings, until_s)
                    work.do(making.result(), small_file(folder), for_s)
                    findings.run("ready in the end", lambda: client.get("/readyz").json())
        finally:
            stop(service)


@contextmanager
def this_machine(device: str) -> Iterator[Mapping[str, object]]:
    """Yield the settings of a service that works alone."""
    yield {"device": device, "allow_programs": True}


@contextmanager
def cluster(device: str) -> Iterator[Mapping[str, object]]:
    """Start a Ray cluster of one node, and yield the settings of a service that uses it."""
    with started(nodes=1, device=device, allow_programs="1") as nodes:
        try:
            yield nodes.settings | {"allow_programs": True}
        finally:
            for log in nodes.folder.glob("*.log"):
                print(f"-- {log.name}: {log.read_text(errors='replace')[-2000:]}", flush=True)


class Work:
    """Jobs that are sent one after the other, until the time is up."""

    def __init__(self, client: httpx.Client, findings: Findings, until_s: float) -> None:
        self._client, self._findings, self._until_s = client, findings, until_s

    def do(self, given: Sequence[Job], small: Path, for_s: float) -> None:
        """Convert all, and after the first see how many small files a second are converted."""
        first, *others = given
        self.convert(first)
        self.rate(Job(small, {"smoke": "none"}), for_s)
        self.rate(Job(small), for_s)
        for job in others:
            self.convert(job)

    def convert(self, job: Job) -> None:
        """Convert a file, and tell what came of it."""
        self._run(f"convert {job.file.name}", job, self._convert)

    def rate(self, job: Job, seconds: float) -> None:
        """Convert one file again and again under other names; tell how many times a second."""
        named = ", ".join(f"{name}={value}" for name, value in job.options.items())
        section = f"small jobs, {named or 'default options'}"
        self._run(section, job, partial(self._rate, for_s=seconds))

    def _run(self, section: str, job: Job, do: Callable[[Job], object]) -> None:
        if not job.file.exists():
            self._findings.note(section, {"absent": "the file, or what makes it"})
        elif self._left_s() < _LEAST_S:
            self._findings.note(section, "left out: the time was up")
        else:
            self._findings.run(section, partial(do, job))

    def _left_s(self) -> float:
        return self._until_s - time.monotonic()

    def _convert(self, job: Job, filename: str | None = None) -> dict[str, Any]:
        return told(job, job.send(self._client, max(_LEAST_S, self._left_s()), filename))

    def _rate(self, job: Job, for_s: float) -> dict[str, Any]:
        """Send one first, and then as many as the time allows."""
        first = self._convert(job)
        began_s = time.monotonic()
        until_s = min(began_s + for_s, self._until_s)
        steady: list[dict[str, Any]] = []
        while len(steady) < _STEADY_JOBS or time.monotonic() < until_s:
            steady.append(self._convert(job, f"{len(steady)}.pt"))
        for answer in (first, *steady):
            if "error" in answer:
                return answer
        taken_s = [answer["took_s"] for answer in steady]
        return {
            "file_bytes": job.file.stat().st_size,
            "first_s": first["took_s"],
            "jobs_per_s": len(steady) / (time.monotonic() - began_s),
            "median_s": median(taken_s),
            "steady_s": taken_s,
            "stages_of_the_last": steady[-1]["seconds"],
        }


def ready(service: Running, began_s: float, until_s: float) -> dict[str, Any]:
    """Wait until a worker is warm; tell after how long, and what it says of device and walls.

    Raises:
        TimeoutError: If none is in time.
        ConnectionError: If the service has ended.
    """
    said = "nothing"
    with service.client() as client:
        while time.monotonic() < until_s:
            if service.process.poll() is not None:
                raise ConnectionError(f"the service ended: {service.log.read_text()[-1500:]}")
            with suppress(httpx.TransportError):
                answer = client.get("/readyz")
                if answer.status_code == httpx.codes.OK:
                    after_s = round(time.monotonic() - began_s, 3)
                    return {"after_s": after_s, "answer": answer.json()}
                said = answer.text[:1000]
            time.sleep(0.05)
    raise TimeoutError(f"the service was not ready in time; /readyz said {said}")


def stop(service: Running) -> None:
    """End it, whatever it does."""
    service.process.terminate()
    try:
        service.process.wait(10)
    except subprocess.TimeoutExpired:
        service.process.kill()


if __name__ == "__main__":
    main()
