"""Do in workers behind the walls what jobs do, each thing by its name.

    python -m scripts.gpu.walls --into FILE [--levels sealed entered none] [--rehearse]

First some fresh workers only warm up: so long the next job waits for one. The first of them waits
for the process that all are forked from as well. Then a worker does everything behind all walls.
What it dies of, or hangs in, is named, and the next worker goes on behind it. Fewer walls are tried
only where something failed behind more.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import socket
import time
from pathlib import Path
from typing import get_args

from scripts.gpu.device import Device
from scripts.gpu.findings import Findings
from scripts.gpu.walls import worker
from scripts.gpu.walls.actions import ACTIONS
from scripts.gpu.walls.trials import Process, Trials
from scripts.gpu.walls.worker import Level, Task
from service.workers import conversion


def main() -> None:
    """Try all levels, from all walls to none."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.gpu.walls",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--into", type=Path, required=True, metavar="FILE")
    parser.add_argument("--fresh", type=int, default=3, help="workers that only warm up")
    parser.add_argument("--levels", nargs="+", default=get_args(Level), choices=get_args(Level))
    parser.add_argument("--level-s", type=float, default=45.0, help="for each level")
    parser.add_argument("--rehearse", action="store_true", help="on the CPU")
    arguments = parser.parse_args()
    device = Device(is_gpu=not arguments.rehearse)
    trials = Trials(Findings(arguments.into), start)
    level_s = device.allowed_s(arguments.level_s)
    for _ in range(arguments.fresh):
        trials.run(Task("sealed", device), time.monotonic() + level_s)
    for level in arguments.levels:
        failed = trials.level(Task(level, device, tuple(ACTIONS)), level_s)
        print(json.dumps({"level": level, "failed": failed}))
        if not failed:
            break  # fewer walls would tell no more


def start(pipe: socket.socket, folder: Path, task: Task) -> Process:
    """Fork a worker as the service does, from a process that has imported all that it needs."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([conversion.__name__, worker.__name__])
    process = context.Process(target=worker.serve, args=(pipe, folder, task), daemon=True)
    process.start()
    return process


if __name__ == "__main__":
    main()
