"""A task whose device fails in the way that its name says.

`absent` is refused at the warm-up, `breaks` fails at the warm-up, `freezes` never answers, and
`tires` answers the warm-up but no probe. Any other device works, and reports the visible GPUs.
"""

from __future__ import annotations

import os
import time
from typing import Any

from convlast.errors import DeviceUnavailableError
from convlast.progress import Progress
from service.workers import Finished
from service.workers.messages import LocalJob


def warm(device: str, threads: int | None) -> dict[str, Any]:
    """Behave as the device's name says."""
    if device == "absent":
        raise DeviceUnavailableError("There is no such device.")
    if device == "breaks":
        raise RuntimeError("a secret of the machine")
    if device == "freezes":
        time.sleep(600)
    return facts_of(device)


def probe(device: str) -> dict[str, Any]:
    """Behave as the device's name says."""
    if device == "tires":
        time.sleep(600)
    return facts_of(device)


def facts_of(device: str) -> dict[str, Any]:
    """Return facts about this process."""
    return {"device": device, "visible_gpus": os.environ.get("CUDA_VISIBLE_DEVICES")}


def run(job: LocalJob, device: str, progress: Progress) -> Finished:
    """Finish at once."""
    return Finished(verdict="passed")
