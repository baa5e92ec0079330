"""One target, fuzzed in a process that ends with it, and what it leaves in its folder."""

from __future__ import annotations

import gc
import hashlib
import importlib
import inspect
import pkgutil
import random
import resource
import sys
import tempfile
import traceback
import types
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.fuzz.laws import LawBrokenError
from benchmarks.fuzz.targets import TARGETS
from convlast import checkpoints, containers, planning

TIMEOUT_S = 5
MEMORY_MIB = 300
RSS_LIMIT_MIB = 2048
MAX_LEN = 8192


_READERS = (checkpoints, containers, planning)

_INSTRUMENTED = (
    *(
        found.name
        for package in _READERS
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    ),
    *("convlast.layout.memory_format", "convlast.writing.skeleton", "convlast.writing.torch_zip"),
    *("torch._weights_only_unpickler", "torch._utils", "zipfile", "pickletools"),
)


class Trial:
    """One target, and the places that belong to it."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.target = name, TARGETS[name]
        slug = name.replace(" ", "-")
        self.corpus, self.findings = folder / slug / "corpus", folder / slug / "findings"
        self.accepted = folder / slug / "accepted"
        for place in (self.corpus, self.findings):
            place.mkdir(parents=True, exist_ok=True)

    def seed(self) -> None:
        """Put the seeds into the corpus."""
        for data in self.target.seeds():
            (self.corpus / hashlib.sha1(data, usedforsecurity=False).hexdigest()).write_bytes(data)

    def attempt(self, data: bytes, work: Path) -> bool:
        """Try some bytes, and keep them if the law is broken in a new way."""
        before = resident_peak_mib()
        try:
            is_accepted = self.target.attempt(data, work)
            if (grown := resident_peak_mib() - before) > MEMORY_MIB:
                raise LawBrokenError(f"took {grown} MiB")
        except Exception as error:
            self._keep(data, error)
            return False
        return is_accepted

    def _keep(self, data: bytes, error: Exception) -> None:
        frames = traceback.extract_tb(error.__traceback__)
        place = f"{type(error).__name__}-{Path(frames[-1].filename).stem}-{frames[-1].lineno}"
        if not (self.findings / place).exists():
            (self.findings / place).write_bytes(data)
            told = "".join(traceback.format_exception(error))
            (self.findings / f"{place}.txt").write_text(told, errors="backslashreplace")


def resident_peak_mib() -> int:
    """Return the largest memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def fuzz(trial: Trial, seconds: int) -> None:
    """Fuzz one target in this process, which ends with it."""
    atheris: Any = importlib.import_module("atheris")
    trial.seed()
    for function in instrumentable():
        atheris.instrument_func(function)
    warnings.simplefilter("ignore")
    work = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))  # noqa: S108
    tried = accepted = 0

    def attempt(data: bytes) -> None:
        nonlocal tried, accepted
        tried += 1
        accepted += trial.attempt(data, work)
        if tried % 1000 == 0:
            trial.accepted.write_text(str(accepted))
            gc.collect()

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        lot = random.Random(seed)
        if trial.target.mutate is None or lot.random() < 0.4:
            mutated: bytes = atheris.Mutate(data, len(data))
            return mutated[:max_size]
        return trial.target.mutate(data, lot)[:max_size]

    flags = {
        "max_total_time": seconds,
        "timeout": TIMEOUT_S,
        "rss_limit_mb": RSS_LIMIT_MIB,
        "max_len": MAX_LEN,
        "print_final_stats": 1,
        "artifact_prefix": f"{trial.findings}/",
    }
    options = [f"-{name}={value}" for name, value in flags.items()]
    more = {"custom_mutator": mutate} if trial.target.mutate else {}
    atheris.Setup([sys.argv[0], str(trial.corpus), *options], attempt, **more)
    atheris.Fuzz()


def instrumentable() -> Iterator[types.FunctionType]:
    """Yield the functions and methods of the modules under test."""
    for name in _INSTRUMENTED:
        module = importlib.import_module(name)
        members = list(vars(module).values())
        for owner in [each for each in members if inspect.isclass(each)]:
            if owner.__module__ == name:
                members += vars(owner).values()
        for member in members:
            if inspect.isfunction(member) and member.__module__ == name:
                yield member
