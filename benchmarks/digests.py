"""What `convlast.digest` costs above one SHA-256 pass, and what the option costs a conversion.

    python -m benchmarks.digests --megabytes 1024 --work /dev/shm

Each checkpoint, contiguous or channels-last, is digested with two threads, as users have it, and
with one, in turn with one SHA-256 pass over the same bytes in one thread. Memory is measured in a
process of its own, for this size and for a quarter of it. Prints one JSON object; exits with 1 if
a limit was missed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import torch

import convlast
from benchmarks.machine import describe
from benchmarks.memory import MIB, Peak, anonymous_mib
from convlast.bytes.digest import sha256_of

MAX_RATIO = 1.2
MAX_GROWTH_MIB = 16
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last_3d": torch.channels_last_3d}


def main() -> None:
    """Measure, and fail if a limit is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--work", type=Path, help="a folder, best on tmpfs")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(digest_and_measure(arguments.one)))
        return
    with tempfile.TemporaryDirectory(dir=arguments.work) as folder:
        found = {
            layout: of_layout(Path(folder), layout, arguments.megabytes, arguments.repeats)
            for layout in LAYOUTS
        }
        conversion = of_conversion(Path(folder), arguments.megabytes, arguments.repeats)
    passed = all(
        each["ratio"] <= MAX_RATIO and each["growth_mib"] <= MAX_GROWTH_MIB
        for each in found.values()
    )
    result = {
        "benchmark": "digests",
        "megabytes": arguments.megabytes,
        "layouts": found,
        "conversion": conversion,
        "passed": passed,
        "machine": describe(),
    }
    print(json.dumps(result, indent=2))
    sys.exit(0 if passed else 1)


def of_layout(folder: Path, layout: str, megabytes: int, repeats: int) -> dict[str, float]:
    """Measure one layout: ratios in turn, and memory for two sizes."""
    path = folder / f"{layout}.pt"
    peaks = []
    for size in (megabytes // 4, megabytes):
        make_checkpoint(path, size, layout)
        command = [sys.executable, "-m", "benchmarks.digests", "--one", str(path)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        peaks.append(json.loads(done.stdout))
    seconds = in_turn(
        {
            "sha256": lambda: sha256_of(path),
            "digest": lambda: convlast.digest(path),
            "one_thread": lambda: with_one_thread(path),
        },
        repeats,
    )
    path.unlink()
    return {
        "sha256_s": seconds["sha256"],
        "digest_s": seconds["digest"],
        "one_thread_s": seconds["one_thread"],
        "ratio": round(seconds["digest"] / seconds["sha256"], 2),
        "ratio_with_one_thread": round(seconds["one_thread"] / seconds["sha256"], 2),
        "peak_above_baseline_mib": peaks[1],
        "growth_mib": round(max(0.0, peaks[1] - peaks[0]), 1),
    }


def of_conversion(folder: Path, megabytes: int, repeats: int) -> dict[str, float]:
    """Measure a conversion without the option, and with it."""
    source, target = folder / "model.pt", folder / "made.pt"
    make_checkpoint(source, megabytes, "contiguous")

    def converting(*, digests: bool) -> Callable[[], object]:
        return lambda: convlast.convert(
            source, target, smoke="none", device="cpu", tensor_digests=digests
        )

    ways = {"without": converting(digests=False), "with": converting(digests=True)}
    seconds = in_turn(ways, repeats)
    return {
        "without_s": seconds["without"],
        "with_s": seconds["with"],
        "ratio": round(seconds["with"] / seconds["without"], 2),
    }


def in_turn(ways: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Return the median seconds of each of several ways, which take turns."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, work in ways.items():
            began_s = time.perf_counter()
            work()
            taken[name].append(time.perf_counter() - began_s)
    return {name: round(statistics.median(each), 3) for name, each in taken.items()}


def with_one_thread(path: Path) -> object:
    """Digest with one thread."""
    with mock.patch("convlast.digests.of_file.THREADS", 1):
        return convlast.digest(path)


def digest_and_measure(path: Path) -> float:
    """Digest in this process; return by how much its anonymous memory grew, in MiB."""
    import convlast.digests.digesting  # what a user has imported before

    baseline, peak = anonymous_mib(), Peak()
    with peak:
        convlast.digest(path)
    return round(max(0.0, peak.mib - baseline), 1)


def make_checkpoint(path: Path, megabytes: int, layout: str) -> None:
    """Save convolution weights of 27 MiB."""
    weight = torch.randn(512, 512, 3, 3, 3).to(memory_format=LAYOUTS[layout])
    count = max(1, megabytes * MIB // weight.nbytes)
    torch.save({f"{index}.conv.weight": weight + index for index in range(count)}, path)


if __name__ == "__main__":
    main()
