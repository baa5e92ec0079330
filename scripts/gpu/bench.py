"""`benchmarks.gpu` within a few minutes; in a rehearsal, one tiny model on the CPU.

python -m scripts.gpu.bench [MODEL ...] --into FILE [--rehearse]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.measuring import Limits
from benchmarks.gpu.models import Model
from benchmarks.gpu.runs import gather, result_of
from benchmarks.gpu.weights import measure

_LIMITS = ("--race-s", "1", "--search-s", "8", "--model-s", "75")
_TINY = Model(
    "benchmarks.gpu.models.PatchEmbedding", (2, 3, 2, 8, 8), {"width": 8, "patch": [2, 4, 4]}
)
_CPU = torch.device("cpu")


def main() -> None:
    """Measure the models that are named, or all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="MODEL")
    parser.add_argument("--into", type=Path, required=True, metavar="FILE")
    parser.add_argument("--rehearse", action="store_true")
    arguments = parser.parse_args()
    if arguments.rehearse:
        arguments.into.write_text(json.dumps(rehearsed()))
    else:
        done = subprocess.run(
            command(arguments.names, arguments.into), check=False, stdout=subprocess.DEVNULL
        )
        sys.exit(done.returncode)


def command(names: Sequence[str], into: Path) -> list[str]:
    """Return how the benchmark is started; it writes after each model."""
    return [sys.executable, "-m", "benchmarks.gpu", *names, *_LIMITS, "--into", str(into)]


def rehearsed() -> dict[str, Any]:
    """Measure a tiny model and tiny weights as the benchmark does."""

    def run(name: str) -> dict[str, Any]:
        return result_of(_TINY, _CPU, Limits(race_s=0.0, search_s=0.0), None)

    weights = measure(_CPU, 1, {"tiny": (3, (4, 3, 2, 2, 2))})
    return {"weights": weights, **gather(["tiny"], run, lambda so_far: None)}


if __name__ == "__main__":
    main()
