"""`convlast.convert` against the script that anyone would write.

    python -m benchmarks.library --megabytes 1024 --repeats 5 --work /dev/shm

The script loads the checkpoint, converts the convolution weights, saves it, and takes the SHA-256
of both files, as the contract demands; it proves nothing. Both run in turn, each in a fresh
process that has imported what it needs before the clock starts. Memory is looked at in runs of
their own, since looking takes time. Prints one JSON object; exits with 1 if a ratio is beyond its
limit.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.machine import describe
from benchmarks.memory import Peak, anonymous_mib, make_checkpoint

SHARE_OF_TIME, SHARE_OF_MEMORY = 0.5, 0.25
COMPETITORS = ("convlast", "script")


def main() -> None:
    """Measure, and print what came of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--work", type=Path, help="a folder, best on tmpfs")
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        name, source, target, what = arguments.one
        print(json.dumps(run(name, Path(source), Path(target), what)))
        return
    result = measure(arguments.megabytes, arguments.repeats, arguments.work)
    print(json.dumps(result, indent=2))
    sys.exit(0 if result["passed"] else 1)


def measure(megabytes: int, repeats: int, work: Path | None) -> dict[str, object]:
    """Let both convert one checkpoint in turn; return medians and ratios."""
    with tempfile.TemporaryDirectory(dir=work) as folder:
        source, target = Path(folder, "model.pt"), Path(folder, "converted.pt")
        make_checkpoint(source, megabytes)
        above_mib = {name: one(name, source, target, "memory") for name in COMPETITORS}
        turns = [
            {name: one(name, source, target, "seconds") for name in COMPETITORS}
            for _ in range(repeats)
        ]
    seconds = {name: [turn[name] for turn in turns] for name in COMPETITORS}
    medians = {name: statistics.median(taken) for name, taken in seconds.items()}
    time_share = medians["convlast"] / medians["script"]
    memory_share = above_mib["convlast"] / above_mib["script"]
    return {
        "benchmark": "library",
        "megabytes": megabytes,
        "seconds": {
            name: {"median": round(medians[name], 4), "all": taken}
            for name, taken in seconds.items()
        },
        "share_of_time": round(time_share, 3),
        "peak_anonymous_above_import_mib": above_mib,
        "share_of_memory": round(memory_share, 3),
        "passed": time_share <= SHARE_OF_TIME and memory_share <= SHARE_OF_MEMORY,
        "machine": describe(),
    }


def one(name: str, source: Path, target: Path, what: str) -> float:
    """Let one of them convert in a fresh process; return what was measured."""
    command = [sys.executable, "-m", "benchmarks.library", "--one"]
    command += [name, str(source), str(target), what]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    target.unlink()
    return float(done.stdout)


def run(name: str, source: Path, target: Path, what: str) -> float:
    """Convert in this process; return the seconds it took, or the MiB that it needed at most."""
    import convlast.conversion  # what a user has imported before the first conversion

    baseline_mib = anonymous_mib()
    peak = Peak()
    began_s = time.perf_counter()
    with peak if what == "memory" else contextlib.nullcontext():
        if name == "convlast":
            options = convlast.Options(smoke="none")
            convlast.convert(source, target, options, device="cpu")
        else:
            script(source, target)
    if what == "memory":
        return round(peak.mib - baseline_mib, 1)
    return round(time.perf_counter() - began_s, 4)


def script(source: Path, target: Path) -> tuple[str, str]:
    """Be the script; return both digests."""
    with source.open("rb") as file:
        before = hashlib.file_digest(file, "sha256").hexdigest()
    state_dict = torch.load(source, weights_only=True)
    for name, tensor in state_dict.items():
        if tensor.dim() == 5:
            state_dict[name] = tensor.contiguous(memory_format=torch.channels_last_3d)
    torch.save(state_dict, target)
    with target.open("rb") as file:
        return before, hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    main()
