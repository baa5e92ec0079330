"""A task whose device is the trouble: its name says which.

`absent` is refused at the warm-up, `breaks` fails there, `freezes` never answers, `tires` answers
the warm-up and no probe. The others are warm, and tell which GPUs they see.
"""

from __future__ import annotations

import os
import time
from typing import Any

from convlast.errors import DeviceUnavailableError
from convlast.progress import Progress
from service.workers import Finished, Job


def warm(device: str) -> dict[str, Any]:
    """Do what the device says."""
    if device == "absent":
        raise DeviceUnavailableError("There is no such device.")
    if device == "breaks":
        raise RuntimeError("a secret of the machine")
    if device == "freezes":
        time.sleep(600)
    return facts_of(device)


def probe(device: str) -> dict[str, Any]:
    """Do what the device says."""
    if device == "tires":
        time.sleep(600)
    return facts_of(device)


def facts_of(device: str) -> dict[str, Any]:
    """Tell of this process."""
    return {"device": device, "visible_gpus": os.environ.get("CUDA_VISIBLE_DEVICES")}


def run(job: Job, device: str, progress: Progress) -> Finished:
    """Finish at once."""
    return Finished(verdict="passed")
