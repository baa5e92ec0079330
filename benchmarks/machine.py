"""Where a measurement was made: it is worth nothing without."""

from __future__ import annotations

import os
import platform
import time

import torch

import convlast
from convlast.devices import environment_of


def describe() -> dict[str, str | int | None]:
    """Return the machine, the versions and the date, for the end of a result."""
    return {
        "cpu": environment_of(torch.device("cpu")).cpu,
        "cores": os.cpu_count(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "convlast": convlast.__version__,
        "date": time.strftime("%Y-%m-%d"),
    }
