"""How a conversion's time grows: with bytes, and with the number of tensors.

    python -m benchmarks.growth --tensors 100 1000 10000 100000 --megabytes 10 100 1000 8000

Bytes: of a checkpoint whose only convolution weight is small, so that all else is moved, against a
copy of the file beside which both digests are taken in parallel; that is what cannot be saved.
Tensors: small ones, half of them convolution weights; time for each must not grow with their
number. Prints one JSON object; exits with 1 if a limit is missed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

import convlast
from benchmarks.machine import describe
from benchmarks.memory import MIB

TIMES_THE_COPY = 1.3
LARGE_MIB = 4000
TIMES_PER_TENSOR = 1.5
"""What one of many tensors may take, against one of the fewer of the size before."""

QUIET = convlast.Options(smoke="none")


def main() -> None:
    """Measure both, and print what came of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tensors", type=int, nargs="*", default=[100, 1000, 10_000, 100_000])
    parser.add_argument("--megabytes", type=int, nargs="*", default=[10, 100, 1000])
    parser.add_argument("--repeats", type=int, default=3, help="of each size")
    parser.add_argument("--repeats-of-tensors", type=int, default=1, help="of each number")
    parser.add_argument("--work", type=Path, help="a folder; tmpfs, or a disk for the largest")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.work) as name:
        folder = Path(name)
        sizes = [by_bytes(size, arguments.repeats, folder) for size in arguments.megabytes]
        counts = [
            by_tensors(count, arguments.repeats_of_tensors, folder) for count in arguments.tensors
        ]
    large = [size["times_the_copy"] for size in sizes if size["megabytes"] >= LARGE_MIB]
    each = [count["microseconds_each"] for count in counts if count["tensors"] >= 1000]
    is_linear = all(more <= TIMES_PER_TENSOR * less for less, more in zip(each, each[1:]))  # noqa: B905, RUF007  # pairs
    result = {
        "benchmark": "growth",
        "bytes": sizes,
        "tensors": counts,
        "passed": is_linear and all(times <= TIMES_THE_COPY for times in large),
        "machine": describe(),
    }
    print(json.dumps(result, indent=2))
    sys.exit(0 if result["passed"] else 1)


def by_bytes(megabytes: int, repeats: int, folder: Path) -> dict[str, float]:
    """Convert and copy a checkpoint of this size in turn."""
    source = folder / "model.pt"
    piece = torch.randn(8 * MIB // 4)
    state_dict = {f"{index}.weight": piece + index for index in range(max(1, megabytes // 8))}
    state_dict["conv.weight"] = torch.randn(64, 64, 3, 3, 3)
    torch.save(state_dict, source)
    del state_dict
    ways: dict[str, Callable[[], object]] = {
        "convlast": lambda: convlast.convert(source, folder / "made.pt", QUIET, device="cpu"),
        "copy": lambda: copy_with_digests(source, folder / "made.pt"),
    }
    medians = in_turn(ways, repeats, folder / "made.pt")
    source.unlink()
    return {
        "megabytes": megabytes,
        "convlast_s": round(medians["convlast"], 4),
        "copy_s": round(medians["copy"], 4),
        "times_the_copy": round(medians["convlast"] / medians["copy"], 3),
    }


def by_tensors(count: int, repeats: int, folder: Path) -> dict[str, float]:
    """Convert a checkpoint of so many tensors."""
    source, made = folder / "model.pt", folder / "made.pt"
    torch.save(
        {
            f"{index}.weight": torch.randn(4, 2, 3, 3, 3) if index % 2 else torch.randn(8)
            for index in range(count)
        },
        source,
    )
    ways = {"convlast": lambda: convlast.convert(source, made, QUIET, device="cpu")}
    seconds = in_turn(ways, repeats, made)["convlast"]
    return {
        "tensors": count,
        "convlast_s": round(seconds, 4),
        "microseconds_each": round(seconds / count * 1e6, 1),
    }


def in_turn(ways: Mapping[str, Callable[[], object]], repeats: int, made: Path) -> dict[str, float]:
    """Do each in turn, several times; return the median seconds of each."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            os.sync()  # what was written before must not be paid for by who comes next
            began_s = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - began_s)
            made.unlink()
    return {name: statistics.median(taken) for name, taken in seconds.items()}


def copy_with_digests(source: Path, target: Path) -> list[str]:
    """Copy a file inside the kernel; take the digests of both copies, one on each core."""
    shutil.copyfile(source, target)
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(_sha256_of, (source, target)))


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    main()
