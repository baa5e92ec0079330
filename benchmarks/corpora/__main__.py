"""Run the trial, and print what came of it."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import benchmarks.corpora
from benchmarks import machine
from benchmarks.corpora.audit import audited, found_where_it_must, problems_of
from benchmarks.corpora.cases import try_cases
from benchmarks.corpora.outcome import Outcome
from benchmarks.corpora.samples import Sample, samples_of
from benchmarks.corpora.trial import Trial
from tests.service.running import REAL, start


def run(samples: list[Sample], folder: Path, *, is_audited: bool) -> dict[str, Any]:
    """Send everything; return the figures."""
    service = start(folder, REAL)
    outcome, audit = Outcome(), None
    try:
        service.wait_until_ready()
        trial = Trial(service)
        cases, outcome.wrong = try_cases(trial)
        for sample in samples:
            outcome.note(sample, trial.send(sample))
        if is_audited:
            audit = audited(trial, samples, folder)
    finally:
        exit_status = service.stop()
    if audit is not None:
        (folder / "control").mkdir()
        audit["found_where_it_must"] = found_where_it_must(folder / "control")
        outcome.wrong += problems_of(audit, len(samples))
    return {
        "benchmark": "corpora",
        **outcome.figures(),
        "cases": cases,
        "audit": audit,
        "exit_status": exit_status,
        "wrong": outcome.wrong,
    }


def main() -> None:
    """Run the trial, and print what came of it."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.corpora",
        description=benchmarks.corpora.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("corpora", nargs="*", metavar="NAME=FOLDER")
    parser.add_argument("--no-audit", action="store_true")
    arguments = parser.parse_args()
    named = [each.partition("=") for each in arguments.corpora]
    samples = list(samples_of([(name, Path(where)) for name, _, where in named]))
    is_audited = shutil.which("strace") is not None and not arguments.no_audit
    with tempfile.TemporaryDirectory() as folder:
        outcome = run(samples, Path(folder), is_audited=is_audited)
    print(json.dumps(outcome | machine.describe(), indent=2))
    sys.exit(1 if outcome["wrong"] or outcome["exit_status"] else 0)


if __name__ == "__main__":
    main()
