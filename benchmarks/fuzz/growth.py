"""Fuzzing with inputs that grow: time and memory are at most linear in an input's length.

    python -m benchmarks.fuzz.growth --seconds 300 --seed 0
    python -m benchmarks.fuzz.growth --only "torch zip" --again 17

Draws programs from the grammar of each reader (`tests/growing`), and has each read in a process of
its own, in sizes that double until reading takes long enough to be judged. A violation is more time
or memory than `tests/growing/readers.py` allows for so many bytes, or a time that grows by much
more than its length did; what seems to be one is measured anew, and more often. Needs no coverage,
and no atheris. Prints one JSON object; exits with 1 if there was a violation.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import sys
import tempfile
import time
import warnings
from collections import Counter
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from benchmarks import machine
from benchmarks.fuzz.trial import resident_peak_mib
from tests.growing.readers import READERS, Reader

FIRST_BYTES = 1 << 14
DOUBLINGS = 4
"""Sizes that are tried at least, the first among them, and that a slope is taken over."""

ENOUGH_S = 0.5
"""A time that can be judged; what takes less is tried in the next size."""

HIGHEST_SLOPE = 1.4
"""Of time over length, both as logarithms; 1 is linear, 2 the square."""

REPEATS = 3
"""Of each size of a program that seems to break the law; the least time counts."""

TIMEOUT_S = 120


class Size(NamedTuple):
    """What one size of a program took."""

    nbytes: int
    seconds: float
    mib: float


def measure(reader: Reader, number: int, repeats: int = 1) -> list[Size]:
    """Read one program in growing sizes, in a process that ends with it."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(reader, number, repeats, sender))
    began_s = time.monotonic()
    process.start()
    sender.close()
    sizes: list[Size] = []
    try:
        while receiver.poll(max(TIMEOUT_S - (time.monotonic() - began_s), 0)):
            sizes.append(Size(*receiver.recv()))
        sizes.append(Size(_size_of(reader, len(sizes)), TIMEOUT_S, 0))
    except EOFError:
        process.join()
        if process.exitcode:  # another error than is documented counts like a reading without end
            sizes.append(Size(_size_of(reader, len(sizes)), TIMEOUT_S, 0))
    process.kill()
    process.join()
    return sizes


def _size_of(reader: Reader, index: int) -> int:
    first_bytes = min(FIRST_BYTES, reader.most_bytes >> (DOUBLINGS - 1))
    return first_bytes << index


def _measure(reader: Reader, number: int, repeats: int, sender: Connection) -> None:
    program = reader.program(number)
    with tempfile.TemporaryDirectory() as folder:
        before_mib = _resident_mib()
        index = 0
        while (nbytes := _size_of(reader, index)) <= reader.most_bytes:
            data = program.grown(nbytes)
            seconds = min(reader.seconds_for(data, Path(folder)) for _ in range(repeats))
            sender.send((len(data), seconds, max(resident_peak_mib() - before_mib, 0)))
            index += 1
            if seconds > ENOUGH_S and index >= DOUBLINGS:
                break


def _resident_mib() -> float:
    """Return the memory that this process has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / (1 << 20)


def slope(sizes: list[Size]) -> float:
    """Return how time grew over the last sizes; 0 where it is too short to be judged.

    That is the smaller one of two, since a collection of garbage, or a cache that is full, makes
    one step steep and not the next.
    """
    if len(sizes) < DOUBLINGS or sizes[-1].seconds < ENOUGH_S:
        return 0
    last = sizes[-1]
    return min(
        math.log(last.seconds / max(each.seconds, 1e-4)) / math.log(last.nbytes / each.nbytes)
        for each in sizes[-3:-1]
    )


class Judged:
    """What came of the programs of one reader."""

    def __init__(self, name: str) -> None:
        self.reader, self.name = READERS[name], name
        self.programs = 0
        self.largest_bytes = 0
        self.worst: Counter[str] = Counter()
        self.violations: list[dict[str, object]] = []

    def warm_up(self) -> None:
        """Read some small programs here, so that no process has to load what all need."""
        with tempfile.TemporaryDirectory() as folder:
            for number in range(3):
                program = self.reader.program(number)
                self.reader.seconds_for(program.grown(1 << 10), Path(folder))

    def attempt(self, number: int) -> None:
        """Draw a program by its number, measure it, and keep it if it breaks the law twice."""
        sizes = measure(self.reader, number)
        if self._breaks(sizes):
            sizes = measure(self.reader, number, REPEATS)
            if self._breaks(sizes):
                told = self.reader.program(number).told
                self.violations.append({"number": number, "program": told, "sizes": sizes})
        self.programs += 1
        self.largest_bytes = max(self.largest_bytes, sizes[-1].nbytes)
        for name, value in self._figures(sizes).items():
            self.worst[name] = max(self.worst[name], value)  # type: ignore[assignment]  # figures

    def _figures(self, sizes: list[Size]) -> dict[str, float]:
        of = self.reader.allowance
        return {
            "share_of_time": max(of.share_of_time(each.seconds, each.nbytes) for each in sizes),
            "share_of_memory": max(of.share_of_memory(each.mib, each.nbytes) for each in sizes),
            "slope": slope(sizes),
            "seconds_each_megabyte": max(each.seconds / each.nbytes * 1e6 for each in sizes[3:]),
        }  # fmt: skip

    def _breaks(self, sizes: list[Size]) -> bool:
        figures = self._figures(sizes)
        return (
            max(figures["share_of_time"], figures["share_of_memory"]) > 1
            or figures["slope"] > HIGHEST_SLOPE
        )

    def summary(self) -> dict[str, object]:
        """Return the figures."""
        return {
            "programs": self.programs,
            "largest_bytes": self.largest_bytes,
            "worst": {name: round(value, 3) for name, value in self.worst.items()},
            "allowed": asdict(self.reader.allowance),
            "violations": self.violations,
        }


def main() -> None:
    """Draw programs of each reader in turn, and print what came of them."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.fuzz.growth",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=int, default=300, help="for all readers together")
    parser.add_argument("--seed", type=int, default=0, help="the number of the first program")
    parser.add_argument("--only", choices=READERS, action="append", help="a reader (repeatable)")
    parser.add_argument("--again", type=int, help="the number of one program, to measure it alone")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    judged = [Judged(name) for name in arguments.only or READERS]
    for each in judged:
        each.warm_up()
    began_s, number = time.monotonic(), arguments.seed
    if arguments.again is not None:
        for each in judged:
            each.attempt(arguments.again)
    while arguments.again is None and time.monotonic() - began_s < arguments.seconds:
        for each in judged:
            each.attempt(number)
        number += 1
    outcome = {
        "benchmark": "fuzz-growth",
        "seconds": round(time.monotonic() - began_s),
        "seed": arguments.seed,
        "highest_slope": HIGHEST_SLOPE,
        "readers": {each.name: each.summary() for each in judged},
        **machine.describe(),
    }
    print(json.dumps(outcome, indent=2))
    sys.exit(1 if any(each.violations for each in judged) else 0)


if __name__ == "__main__":
    main()
