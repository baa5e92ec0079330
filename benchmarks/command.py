"""How soon `convlast report` prints, against the imports that any such command line needs.

    python -m benchmarks.command --repeats 15 --work /dev/shm

Both are run in turn, each in a process of its own. Prints one JSON object; exits with 1 if the
medians are further apart than the limit.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

import convlast
from benchmarks.machine import describe
from convlast.options import Options

MAX_RATIO = 5.0
BARE = ["-c", "import pydantic, rich, typer"]


def main() -> None:
    """Run both several times, and print what came of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--work", type=Path, help="a folder, best on tmpfs")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.work) as folder:
        artifact = converted(Path(folder))
        commands = {"bare": BARE, "report": ["-m", "convlast", "report", str(artifact)]}
        turns = [
            {name: seconds_of(command) for name, command in commands.items()}
            for _ in range(arguments.repeats)
        ]
    seconds = {name: [turn[name] for turn in turns] for name in commands}
    medians = {name: statistics.median(taken) for name, taken in seconds.items()}
    ratio = medians["report"] / medians["bare"]
    result = {
        "benchmark": "command",
        "seconds": {
            name: {"median": round(medians[name], 3), "all": [round(s, 3) for s in taken]}
            for name, taken in seconds.items()
        },
        "ratio": round(ratio, 2),
        "passed": ratio <= MAX_RATIO,
        "machine": describe(),
    }
    print(json.dumps(result, indent=2))
    sys.exit(0 if result["passed"] else 1)


def converted(folder: Path) -> Path:
    """Make an artifact of some layers."""
    source, artifact = folder / "model.pt", folder / "made.pt"
    layers = {f"{number}.weight": torch.zeros(8, 8, 3, 3, 3) for number in range(20)}
    torch.save(layers, source)
    convlast.convert(source, artifact, Options(smoke="none"), device="cpu")
    return artifact


def seconds_of(command: list[str]) -> float:
    """Run Python with these arguments; return how long it took."""
    began_s = time.perf_counter()
    subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began_s


if __name__ == "__main__":
    main()
