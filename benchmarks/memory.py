"""How much anonymous memory a conversion takes, against what its convolution weights weigh.

    python -m benchmarks.memory --work /dev/shm
    python -m benchmarks.memory --megabytes 1024 8192 --smoke none --work FOLDER_ON_A_DISK

Each conversion runs in a process of its own, which reads the peak of its
anonymous memory from the kernel while it works; the checkpoint is of random values, so that no
page of it can be shared. Prints one JSON object; exits with 1 if a limit was missed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import torch

from benchmarks import machine

MIB = 1 << 20
ALLOWED_ABOVE_WEIGHTS_MIB = 400
LARGE_MIB, ALLOWED_GROWTH_MIB = 1024, 64
"""From this size on, what one conversion takes more than another."""


def main() -> None:
    """Measure each size, and fail if one takes more than it may."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=int, nargs="+", default=[256, 1024])
    parser.add_argument("--work", type=Path, help="a folder, best on tmpfs")
    parser.add_argument("--smoke", default="auto", help="none, auto, layers or model")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        source, target = map(Path, arguments.one)
        print(json.dumps(convert_and_measure(source, target, arguments.smoke)))
        return
    results = [measure(size, arguments.smoke, arguments.work) for size in arguments.megabytes]
    large = [result["peak_mib"] for result in results if result["checkpoint_mib"] >= LARGE_MIB]
    growth_mib = round(max(large) - min(large), 1) if large else 0.0
    passed = growth_mib <= ALLOWED_GROWTH_MIB and all(result["passed"] for result in results)
    result = {
        "benchmark": "memory",
        **machine.describe(),
        "smoke": arguments.smoke,
        "results": results,
        "growth_of_large_ones_mib": growth_mib,
        "passed": passed,
    }
    print(json.dumps(result, indent=2))
    sys.exit(0 if passed else 1)


def measure(megabytes: int, smoke: str, work: Path | None) -> dict[str, float | bool]:
    """Convert a checkpoint of this size, half of it convolution weights, in a fresh process."""
    with tempfile.TemporaryDirectory(dir=work) as folder:
        source = Path(folder, "model.pt")
        weights_mib = make_checkpoint(source, megabytes)
        target = Path(folder, "converted.pt")
        command = [sys.executable, "-m", "benchmarks.memory", "--one", str(source), str(target)]
        done = subprocess.run(
            [*command, "--smoke", smoke], check=True, capture_output=True, text=True
        )
    found: dict[str, float | bool] = json.loads(done.stdout)
    found["checkpoint_mib"] = megabytes
    found["convolution_weights_mib"] = weights_mib
    found["allowed_mib"] = weights_mib + ALLOWED_ABOVE_WEIGHTS_MIB
    found["passed"] = found["peak_mib"] < found["allowed_mib"]
    return found


def make_checkpoint(path: Path, megabytes: int) -> float:
    """Save a checkpoint, half of it Conv3d weights; return their size in MiB."""
    weight = torch.randn(512, 512, 3, 3, 3)  # 27 MiB
    count = max(1, megabytes // 2 * MIB // (weight.numel() * 4))
    state_dict: dict[str, torch.Tensor] = {}
    for index in range(count):
        state_dict[f"{index}.conv.weight"] = weight + index
        state_dict[f"{index}.conv.bias"] = torch.zeros(512)
        state_dict[f"{index}.linear.weight"] = torch.randn(weight.numel() // 512, 512)
    torch.save(state_dict, path)
    return count * weight.numel() * 4 / MIB


def convert_and_measure(source: Path, target: Path, smoke: str) -> dict[str, float]:
    """Convert in this process; return peaks of its anonymous memory, in MiB."""
    import convlast.conversion  # what a user has imported before the first conversion

    baseline = anonymous_mib()
    peak = Peak()
    start = time.perf_counter()
    with peak:
        options = convlast.Options.parse(smoke=smoke)
        report = convlast.convert(source, target, options, device="cpu")
    assert report.verdict != "failed"
    return {
        "seconds": round(time.perf_counter() - start, 3),
        "baseline_mib": round(baseline, 1),
        "peak_mib": round(peak.mib, 1),
        "peak_above_baseline_mib": round(peak.mib - baseline, 1),
    }


def anonymous_mib(pid: int | None = None) -> float:
    """Return the resident anonymous memory of a process, or of this one; 0 if it has ended."""
    try:
        lines = Path("/proc", str(pid or "self"), "status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("RssAnon:")) / 1024


class Peak:
    """The largest anonymous memory seen, by looking every millisecond."""

    def __init__(self, pid: int | None = None) -> None:
        self.mib = 0.0
        self._pid = pid
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.001):
            self.mib = max(self.mib, anonymous_mib(self._pid))


if __name__ == "__main__":
    main()
