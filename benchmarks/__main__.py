"""All benchmarks that need nothing but this machine, one after the other.

    python -m benchmarks --work /dev/shm
    python -m benchmarks library serving --work /dev/shm --keep

Each runs in a process of its own and prints one JSON object; with `--keep` it is written to
`results/` as well. Exits with 1 if one of them missed a limit.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

NAMES = (
    "memory",
    "library",
    "serving",
    "start",
    "idle",
    "requests",
    "fairness",
    "growth",
    "folders",
    "neighbour",
    "command",
    "digests",
)
RESULTS = Path(__file__).with_name("results")


def main() -> None:
    """Run those that are named, or all."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", type=known, help=", ".join(NAMES))
    parser.add_argument("--work", type=Path, help="a folder, best on tmpfs")
    parser.add_argument("--keep", action="store_true", help="write the results to results/")
    arguments = parser.parse_args()
    missed = [
        name
        for name in arguments.names or NAMES
        if not run(name, arguments.work, keep=arguments.keep)
    ]
    if missed:
        sys.exit(f"A limit was missed by: {', '.join(missed)}")


def known(name: str) -> str:
    """Return the name of a benchmark.

    Raises:
        argparse.ArgumentTypeError: If there is none of this name.
    """
    if name not in NAMES:
        raise argparse.ArgumentTypeError(f"there is no benchmark {name!r}; name {', '.join(NAMES)}")
    return name


def run(name: str, work: Path | None, *, keep: bool) -> bool:
    """Run one; say whether it kept its limits."""
    command = [sys.executable, "-m", f"benchmarks.{name}"]
    command += ["--work", str(work)] if work else []
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    print(done.stdout, flush=True)
    if keep and done.stdout:
        (RESULTS / f"{name}.json").write_text(done.stdout)
    return done.returncode == 0


if __name__ == "__main__":
    main()
