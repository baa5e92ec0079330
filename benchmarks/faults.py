"""Many jobs while things go wrong: workers killed, clients gone, the disk full.

Every answer must be the documented one, every conversion right to the byte, a killed worker must
end no other job than its own, and afterwards nothing may be left: no file, no process, no open
descriptor. Run with

    python -m benchmarks.faults --jobs 500
    python -m benchmarks.faults --jobs 500 --workers 4

The disk is filled only where a small file system can be mounted (as root); else that fault is left
out, and the result says so. Prints one JSON object; exits with 1 if anything was wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import torch
from torch import nn

from benchmarks.machine import describe
from convlast.conversion import JobSettings, convert_into
from service.problems import TABLE
from tests.service.running import REAL, Running, start, wait_for

CLIENTS, CLIENTS_PER_WORKER = 4, 2
DISK_BYTES = 160 << 20
SETTLED_S = 3.0
"""All warm workers have started if no process came or went for so long."""


@dataclass
class Sample:
    """A file to send, and what must come back."""

    path: Path
    code: str | None = None
    sha256: str | None = None

    @property
    def content(self) -> bytes:
        """Its bytes."""
        return self.path.read_bytes()


@dataclass
class Result:
    """What has happened so far."""

    answers: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    killed: int = 0
    """How many workers were killed."""

    def note(self, kind: str, what: str) -> None:
        """Count an answer."""
        self.answers[f"{kind}: {what}"] += 1

    def crashes(self) -> int:
        """Count the jobs that were told that their worker crashed."""
        return sum(n for kind, n in self.answers.items() if kind.endswith(": worker-crashed"))


class Trial:
    """One running service, and the jobs that try it."""

    def __init__(self, service: Running, samples: list[Sample]) -> None:
        self.service, self.samples = service, samples
        self.result = Result()
        self.disk = threading.Lock()

    def convert(self, lot: random.Random, kind: str = "convert", *also: str) -> None:
        """Send a file; it must be answered as it must, or with one of the codes `also` allowed."""
        sample = lot.choice(self.samples)
        # Without a name of its own, it could join the job of another client.
        response = self.service.convert(
            sample.content,
            filename=f"{lot.getrandbits(32):08x}.pt",
            data={"smoke": lot.choice(["none", "auto"])},
        )
        self._judge(kind, sample, response, set(also))

    def abort_upload(self, lot: random.Random) -> None:
        """Leave in the middle of an upload."""
        with self.service.connect() as connection:
            connection.sendall(
                b"POST /convert HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\n"
                b"Content-Length: 1000000\r\n\r\n" + bytes(lot.randrange(1, 500_000))
            )
        self.result.note("abort_upload", "left")

    def abort_download(self, lot: random.Random) -> None:
        """Leave while the job runs, or in the middle of the answer."""
        sample = lot.choice(self.samples)
        with self.service.connect() as connection, contextlib.suppress(OSError):
            connection.sendall(
                f"POST /convert?smoke=none&filename={lot.getrandbits(32):08x}.pt HTTP/1.1\r\n"
                "Host: x\r\nContent-Type: application/octet-stream\r\n"
                f"Content-Length: {len(sample.content)}\r\n\r\n".encode()
                + sample.content
            )
            connection.settimeout(lot.uniform(0.001, 0.5))
            connection.recv(lot.randrange(1, 10_000))
        self.result.note("abort_download", "left")

    def kill_worker(self, lot: random.Random) -> None:
        """Kill a worker, busy or idle, while a job is sent."""
        workers = [pid for pid in self.service.descendants() if is_worker(pid)]
        with ThreadPoolExecutor(1) as pool:
            sent = pool.submit(self.convert, lot, "kill_worker", "worker-crashed")
            time.sleep(lot.uniform(0, 0.3))
            for pid in lot.sample(workers, min(1, len(workers))):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    self.result.killed += 1
            sent.result()

    def fill_disk(self, lot: random.Random) -> None:
        """Fill the disk while a job is sent; all that run meanwhile may be told so."""
        filler = self.service.work_dir.parent / "filler"
        with self.disk:
            try:
                with filler.open("wb") as file:
                    free = os.statvfs(filler).f_bavail * os.statvfs(filler).f_frsize
                    with contextlib.suppress(OSError):
                        os.posix_fallocate(
                            file.fileno(), 0, max(1, free - lot.choice([0, 2_000_000]))
                        )
                self.convert(lot, "fill_disk")
            finally:
                filler.unlink(missing_ok=True)

    def _judge(
        self, kind: str, sample: Sample, response: httpx.Response, allowed: set[str]
    ) -> None:
        if response.status_code == httpx.codes.OK:
            self.result.note(kind, "200")
            with zipfile.ZipFile(io.BytesIO(response.content)) as answer:
                artifact = answer.read(answer.namelist()[0])
            if hashlib.sha256(artifact).hexdigest() != sample.sha256:
                self.result.wrong.append(f"{sample.path.name}: another artifact")
            return
        code = response.json().get("code")
        self.result.note(kind, str(code))
        if code not in TABLE or TABLE[code].status != response.status_code:
            self.result.wrong.append(f"{sample.path.name}: undocumented {response.text[:200]}")
        # Other jobs' disk trouble and killed workers reach whatever job is in at the time.
        if code not in {sample.code, "worker-crashed", "storage-full", "not-ready", *allowed}:
            self.result.wrong.append(f"{sample.path.name}: {code} {response.text[:200]}")


def main() -> None:
    """Run the trial, and print what came of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, help="CONVLAST_WORKERS; else its default")
    arguments = parser.parse_args()
    settings = {"workers": arguments.workers} if arguments.workers else {}
    with tempfile.TemporaryDirectory() as folder, small_disk(Path(folder, "disk")) as is_small:
        samples = make_samples(Path(folder, "samples"))
        service = start(Path(folder, "disk"), REAL, None, client_idle_s=5, **settings)
        try:
            service.wait_until_ready()
            wait_until_settled(service)
            clients = max(CLIENTS, CLIENTS_PER_WORKER * (arguments.workers or 0))
            trial = Trial(service, samples)
            outcome = try_all(trial, arguments.jobs, arguments.seed, is_small, clients)
        finally:
            exit_status = service.stop()
        outcome["workers"], outcome["exit_status"] = arguments.workers, exit_status
    print(json.dumps(outcome, indent=2))
    sys.exit(1 if outcome["wrong"] or exit_status else 0)


def try_all(trial: Trial, jobs: int, seed: int, is_small: bool, clients: int) -> dict[str, object]:
    """Do the jobs, several at a time; return the figures."""
    acts: list[Callable[[random.Random], None]] = [
        *[trial.convert] * 6,
        *[trial.kill_worker] * 2,
        trial.abort_upload,
        trial.abort_download,
        *([trial.fill_disk] if is_small else []),
    ]
    before = state_of(trial.service)
    started = time.perf_counter()

    def act(number: int) -> None:
        lot = random.Random(seed * 1_000_003 + number)
        try:
            lot.choice(acts)(lot)
        except Exception as error:
            trial.result.wrong.append(f"{type(error).__name__}: {error}")

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(act, range(jobs)))
    wait_for(lambda: not trial.service.files(), within_s=60)
    trial.service.wait_until_ready()
    wait_for(lambda: state_of(trial.service)["processes"] == before["processes"], within_s=60)
    after = state_of(trial.service)
    if after["descriptors"] > before["descriptors"] + 4:
        trial.result.wrong.append(f"descriptors: {before} became {after}")
    if (crashes := trial.result.crashes()) > trial.result.killed:
        trial.result.wrong.append(f"{trial.result.killed} killed workers ended {crashes} jobs")
    return {
        "benchmark": "faults",
        "jobs": jobs,
        "seed": seed,
        "disk_filled": is_small,
        "seconds": round(time.perf_counter() - started, 1),
        "killed": trial.result.killed,
        "answers": dict(sorted(trial.result.answers.items())),
        "wrong": trial.result.wrong,
        "before": before,
        "after": after,
        "machine": describe(),
    }


def wait_until_settled(service: Running) -> None:
    """Wait until no process of the service comes or goes."""
    known, since_s = service.descendants(), time.monotonic()

    def is_settled() -> bool:
        nonlocal known, since_s
        if (found := service.descendants()) != known:
            known, since_s = found, time.monotonic()
        return time.monotonic() - since_s >= SETTLED_S

    wait_for(is_settled, within_s=60)


def state_of(service: Running) -> dict[str, int]:
    """Count what a leak would add to."""
    pid = service.process.pid
    status = Path(f"/proc/{pid}/status").read_text()
    resident = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return {
        "processes": len(service.descendants()),
        "descriptors": len(list(Path(f"/proc/{pid}/fd").iterdir())),
        "resident_mib": int(resident.split()[1]) >> 10,
    }


def is_worker(pid: int) -> bool:
    """Say whether a process leads a session of its own, as workers do."""
    with contextlib.suppress(OSError):
        return os.getsid(pid) == pid
    return False


def make_samples(folder: Path) -> list[Sample]:
    """Make files of several kinds, with what must come of each."""
    folder.mkdir()
    torch.manual_seed(0)
    small = nn.Sequential(nn.Conv3d(2, 4, 3), nn.BatchNorm3d(4)).state_dict()
    large = {f"{index}.weight": torch.randn(64, 64, 3, 3, 3) for index in range(4)}
    torch.save(small, folder / "small.pt")
    torch.save(large, folder / "large.pt")
    torch.save({"net": small}, folder / "legacy.pt", _use_new_zipfile_serialization=False)
    torch.save({"weight": torch.ones(3)}, folder / "flat.pt")
    (folder / "text.pt").write_text("not a checkpoint")
    (folder / "cut.pt").write_bytes((folder / "large.pt").read_bytes()[:100_000])
    samples = [
        Sample(folder / "flat.pt", code="no-conv3d-weights"),
        Sample(folder / "text.pt", code="not-a-checkpoint"),
        Sample(folder / "cut.pt", code="malformed-checkpoint"),
    ]
    for name in ("small.pt", "large.pt", "legacy.pt"):
        with tempfile.TemporaryDirectory() as made:
            report, _ = convert_into(folder / name, made, settings=JobSettings("cpu"))
            assert report.artifact is not None
            samples.append(Sample(folder / name, sha256=report.artifact.sha256))
    return samples


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """Mount a small file system, where that is allowed; yield whether it is."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    is_mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    try:
        yield is_mounted
    finally:
        if is_mounted:
            subprocess.run(["umount", "-l", str(folder)], check=False)


if __name__ == "__main__":
    main()
