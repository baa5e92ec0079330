"""What is fuzzed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.fuzz import laws, seeds
from benchmarks.fuzz.mutations import mutate_header, mutate_opcodes

Attempt = Callable[[bytes, Path], bool]
Mutate = Callable[[bytes, random.Random], bytes]


@dataclass(frozen=True)
class Target:
    """Something that takes bytes.

    Attributes:
        attempt: Tries some bytes, with a folder to write in; says whether they were accepted, and
            raises where the law is broken.
        seeds: Returns what to begin with.
        mutate: Changes bytes where it knows what they mean.
    """

    attempt: Attempt
    seeds: Callable[[], Iterator[bytes]]
    mutate: Mutate | None = None


TARGETS = {
    "zip": Target(laws.convert, seeds.zip_seeds),
    "zip pickle": Target(laws.convert_pickle, seeds.pickle_seeds, mutate_opcodes),
    "legacy": Target(laws.convert, seeds.legacy_seeds, mutate_opcodes),
    "legacy pickle": Target(laws.convert_legacy_pickle, seeds.legacy_pickle_seeds, mutate_opcodes),
    "safetensors": Target(laws.convert, seeds.safetensors_seeds, mutate_header),
    "scan": Target(laws.scan, seeds.pickle_seeds, mutate_opcodes),
    "directory": Target(laws.read_directory, seeds.zip_seeds),
    "manifest": Target(laws.decode, seeds.manifest_seeds),
}
