"""Fuzz each target, and print what came of it."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import benchmarks.fuzz
from benchmarks import machine
from benchmarks.fuzz.coverage import line_coverage, replay
from benchmarks.fuzz.targets import TARGETS
from benchmarks.fuzz.trial import Trial, fuzz


def run(trial: Trial, seconds: int) -> dict[str, object]:
    """Fuzz one target in a process of its own, anew after each hang; return the figures."""
    began, executions, accepted, covered = time.monotonic(), 0, 0, 0
    while (left := seconds - int(time.monotonic() - began)) > 0:
        folder = str(trial.corpus.parents[1])
        command = [sys.executable, "-m", "benchmarks.fuzz", folder, "--seconds", str(left)]
        done = subprocess.run(
            [*command, "--only", trial.name], capture_output=True, text=True, check=False,
            errors="replace",
        )  # fmt: skip
        (trial.corpus.parent / "log").write_text(done.stderr)
        accepted += int(trial.accepted.read_text()) if trial.accepted.exists() else 0
        executions += _last(r"number_of_executed_units:\s+(\d+)", done.stderr)
        covered = max(covered, _last(r"cov: (\d+)", done.stderr))
        if not executions:
            raise RuntimeError(f"{trial.name} did not start:\n{done.stderr[-4000:]}")
    return {
        "seconds": round(time.monotonic() - began),
        "executions": executions,
        "accepted": accepted,
        "edges": covered,
        "corpus": len(list(trial.corpus.iterdir())),
        "findings": sorted(path.name for path in trial.findings.iterdir() if path.suffix != ".txt"),
    }


def _last(pattern: str, text: str) -> int:
    return int((re.findall(pattern, text) or [0])[-1])


def main() -> None:
    """Fuzz each target, and print what came of it."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.fuzz",
        description=benchmarks.fuzz.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="keeps the corpora and the findings")
    parser.add_argument("--seconds", type=int, default=300, help="for each target")
    parser.add_argument("--only", choices=TARGETS, help=argparse.SUPPRESS)
    parser.add_argument("--replay", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        return fuzz(Trial(arguments.only, arguments.folder), arguments.seconds)
    if arguments.replay:
        return replay(arguments.folder)
    results = {name: run(Trial(name, arguments.folder), arguments.seconds) for name in TARGETS}
    outcome = {
        "benchmark": "fuzz",
        "targets": results,
        "executions": sum(int(str(each["executions"])) for each in results.values()),
        "minutes": round(sum(int(str(each["seconds"])) for each in results.values()) / 60, 1),
        "line_coverage_percent": line_coverage(arguments.folder),
        "atheris": importlib.metadata.version("atheris"),
        **machine.describe(),
    }
    print(json.dumps(outcome, indent=2))
    sys.exit(1 if any(each["findings"] for each in results.values()) else 0)


if __name__ == "__main__":
    main()
