"""A task with three fake GPUs; the device `lost` is a GPU that fails."""

from __future__ import annotations

from typing import Any

from convlast.errors import DeviceLostError
from convlast.progress import Progress
from service.workers import Finished
from service.workers.messages import LocalJob
from tests.service import fakes


def warm(device: str, threads: int | None) -> dict[str, Any]:
    """Be warm at once, unless the GPU fails."""
    return probe(device)


def probe(device: str) -> dict[str, Any]:
    """Report three GPUs, unless this one fails."""
    if device == "lost":
        raise DeviceLostError("The fake GPU failed.")
    return {"device": f"cuda:{device.partition(':')[2] or 0}", "gpu": "A fake", "gpus": 3}


def run(job: LocalJob, device: str, progress: Progress) -> Finished:
    """Run a fake job."""
    return fakes.run(job, device, progress)
