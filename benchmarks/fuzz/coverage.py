"""What the corpora reach: every input tried once more, in a process that coverage watches."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

from benchmarks.fuzz.targets import TARGETS
from benchmarks.fuzz.trial import Trial


def replay(folder: Path) -> None:
    """Try every input of every corpus once more, for whatever watches this process."""
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as work:
        for name in TARGETS:
            trial = Trial(name, folder)
            for path in sorted(trial.corpus.iterdir()):
                trial.attempt(path.read_bytes(), Path(work))


def line_coverage(folder: Path) -> dict[str, float]:
    """Return the percentage of each module's lines and branches that the corpora reach."""
    data, result = folder / "coverage", folder / "coverage.json"
    coverage = [sys.executable, "-m", "coverage"]
    where = ["--rcfile=/dev/null", f"--data-file={data}"]
    subprocess.run(
        [*coverage, "run", *where, "--branch", "--source=convlast.checkpoints",
         "-m", "benchmarks.fuzz", str(folder), "--replay"],
        check=True,
    )  # fmt: skip
    subprocess.run([*coverage, "json", *where, "-q", "-o", str(result)], check=True)
    files = json.loads(result.read_text())["files"]
    return {
        Path(name).name: round(found["summary"]["percent_covered"], 1)
        for name, found in files.items()
    }
