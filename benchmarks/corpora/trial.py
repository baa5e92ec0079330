"""A running service, asked one thing at a time, and judged by what it answers and takes."""

from __future__ import annotations

import io
import tempfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

import httpx
import safetensors.torch
import torch

from benchmarks.corpora.memory import Watch
from benchmarks.corpora.samples import Sample
from benchmarks.faults import is_worker
from service.problems import TABLE
from tests.exactness import restrided
from tests.service.running import Running, wait_for

WORKERS = 2
"""One for conversions, one for inspections."""


@dataclass(frozen=True)
class Measured:
    """What sending one sample took, and what came of it.

    Attributes:
        code: That of the problem; `200` for an artifact.
        seconds: From the first byte sent to the last one received.
        mib: What the worker took above what it had at rest, in MiB of anonymous memory.
        wrong: What must not have been, if anything.
    """

    code: str
    seconds: float
    mib: float
    wrong: str | None = None


class Trial:
    """A running service, and what it is asked."""

    def __init__(self, service: Running) -> None:
        self.service = service
        self._client = service.client()

    def send(self, sample: Sample) -> Measured:
        """Send a sample to an idle worker, watch that, and judge the answer."""
        with Watch(self.idle_workers()) as watch:
            began = time.perf_counter()
            response = self.post(sample)
            seconds = time.perf_counter() - began
        code = str(response.status_code)
        if response.status_code != httpx.codes.OK:
            code = str(response.json().get("code"))
        wrong = _judged(sample, response, code)
        if self._client.get("/readyz").status_code != httpx.codes.OK:
            wrong = "the service is not ready after it"
        return Measured(code, seconds, watch.mib, wrong)

    def post(self, sample: Sample) -> httpx.Response:
        """Send a sample, and do no more."""
        return self._client.post(
            "/convert?filename=sample.pt",
            content=sample.data,
            headers={"Content-Type": "application/octet-stream"},
        )

    def idle_workers(self) -> list[int]:
        """Wait until all workers have warmed up and wait; return their processes."""
        found: list[int] = []

        def are_there() -> bool:
            found[:] = [pid for pid in self.service.descendants() if is_worker(pid)]
            return len(found) == WORKERS and all(_is_at_rest(pid) for pid in found)

        wait_for(are_there, within_s=60)
        return found


def _judged(sample: Sample, response: httpx.Response, code: str) -> str | None:
    if response.status_code == httpx.codes.OK:
        return _difference(sample.data, response.content)
    if code not in TABLE or TABLE[code].status != response.status_code:
        return f"undocumented: {response.text[:200]}"
    if not 400 <= response.status_code < 500:
        return f"not refused: {response.text[:200]}"
    return None


def _is_at_rest(pid: int) -> bool:
    """Say whether a process has used no time for a moment, after it has warmed up."""
    try:
        before = Path(f"/proc/{pid}/schedstat").read_text()
        time.sleep(0.05)
        threads = len(list(Path(f"/proc/{pid}/task").iterdir()))
        return threads > 1 and Path(f"/proc/{pid}/schedstat").read_text() == before
    except OSError:
        return False


def _difference(source: bytes, answer: bytes) -> str | None:
    """Load both files; return what differs but strides."""
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(io.BytesIO(answer)) as archive:
        before, after = Path(folder, "before"), Path(folder, "after")
        before.write_bytes(source)
        after.write_bytes(archive.read(archive.namelist()[0]))
        try:
            if source[8:9] == b"{":
                loaded = safetensors.torch.load_file(before), torch.load(after, weights_only=True)
                assert {k: v.tolist() for k, v in loaded[0].items()} == {
                    k: v.tolist() for k, v in loaded[1].items()
                }
            else:
                restrided(before, after)
        except Exception as error:
            return f"another artifact: {type(error).__name__}: {error}"
    return None
