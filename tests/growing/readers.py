"""The law over all readers: time and memory grow no faster than the input, with these constants.

The constants are several times what the most laborious honest input takes, and a small part of
what reading all of it again for each of its bytes would. Places of tensors are bounded by a limit,
and not by bytes: some hundred bytes may name as many as the limit allows.
"""

from __future__ import annotations

import io
import random
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import convlast
from convlast.bytes.reclaiming import collecting_seldom
from convlast.checkpoints import manifest
from convlast.checkpoints.guard import pickles
from convlast.conversion import Source
from convlast.errors import ConvlastError
from convlast.options import Limits
from tests.growing import archives, clients, pickled, written
from tests.growing.programs import Program, program
from tests.hostile.calls_with_other_arguments import in_the_legacy_preamble
from tests.hostile.multiplies_extents import script
from tests.hostile.parts import FLOATS, PROTOCOL, STOP, beside_a_weight, number, text, torch_zip

LIMITS = Limits(max_tensors=10_000)


@dataclass(frozen=True)
class Allowance:
    """What reading an input may take.

    Attributes:
        seconds: Of the processor, whatever the input is.
        each_s: For each byte of it.
        mib: Of memory, whatever the input is.
        each_bytes: For each byte of it.
    """

    seconds: float = 0.5
    each_s: float = 10e-6
    mib: float = 64
    each_bytes: float = 500

    def share_of_time(self, seconds: float, nbytes: int) -> float:
        """Say how much of what is allowed was taken; more than 1 is too much."""
        return seconds / (self.seconds + self.each_s * nbytes)

    def share_of_memory(self, mib: float, nbytes: int) -> float:
        """Say how much of what is allowed was taken."""
        return mib / (self.mib + self.each_bytes * nbytes / (1 << 20))


@dataclass(frozen=True)
class Reader:
    """Something that reads what others send.

    Attributes:
        draw: Draws a program from its grammar.
        read: Reads an input, with a folder in which files may be.
        most_bytes: Of an input that it is tried with.
        allowance: What it may take.
    """

    draw: Callable[[random.Random], Program]
    read: Callable[[bytes, Path], object]
    most_bytes: int = 1 << 22
    allowance: Allowance = Allowance()

    def program(self, number: int) -> Program:
        """Return the program of a number, the same one each time."""
        return self.draw(random.Random(number))  # noqa: S311  # nothing is kept secret

    def seconds_for(self, data: bytes, folder: Path) -> float:
        """Read an input, or refuse it; return the seconds of this process."""
        began_s = time.process_time()
        with suppress(ConvlastError):
            self.read(data, folder)
        return time.process_time() - began_s


@collecting_seldom()
def _scan(data: bytes, _folder: Path) -> object:
    return pickles.scan(io.BytesIO(data))


def _inspect(name: str, data: bytes, folder: Path) -> object:
    path = folder / name
    path.write_bytes(data)
    return convlast.inspect(Source(path, name, "0" * 64), limits=LIMITS, allow_programs=True)


def _index(data: bytes, folder: Path) -> object:
    (folder / "a.pt").write_bytes(_SHARD)
    return _inspect("index.json", data, folder)


_SHARD = beside_a_weight()


def _pickled(around: Callable[[bytes], bytes], lot: random.Random) -> Program:
    return program(pickled.drawn(lot, is_script=around is _script), around)


def _legacy(objects: bytes) -> bytes:
    """Return a legacy file of a pickle whose only storage is `0`, and is not a view of another."""
    objects = objects.replace(number(FLOATS) + b"tQ", number(FLOATS) + b"NtQ")
    keys = PROTOCOL + b"](" + text("0") + b"e" + STOP
    return (
        in_the_legacy_preamble(b"}")
        + objects
        + keys
        + struct.pack("<q", FLOATS)
        + bytes(4 * FLOATS)
    )


def _script(objects: bytes) -> bytes:
    """Return a TorchScript archive whose module has the values of a pickled dict."""
    made = b"c__torch__\nNet\n)\x81"
    return script(PROTOCOL + made + objects.removeprefix(PROTOCOL).removesuffix(STOP) + b"b" + STOP)


def _texts(pieces: tuple[str, ...], read: Callable[[str], object]) -> Reader:
    return Reader(
        partial(clients.drawn, pieces),
        lambda data, _: read(data.decode("utf-8", "replace")),
        most_bytes=1 << 16,
        allowance=Allowance(seconds=0.1, each_s=3e-6),
    )


FILES: dict[str, Reader] = {
    "pickle": Reader(partial(_pickled, bytes), _scan),
    "torch zip": Reader(partial(_pickled, torch_zip), partial(_inspect, "a.pt")),
    "legacy": Reader(partial(_pickled, _legacy), partial(_inspect, "a.pt")),
    "torchscript": Reader(partial(_pickled, _script), partial(_inspect, "a.pt")),
    "exported program": Reader(written.exported, partial(_inspect, "a.pt2")),
    "safetensors": Reader(written.safetensors, partial(_inspect, "a.safetensors")),
    "index": Reader(written.index, _index),
    "manifest": Reader(written.manifest, lambda data, _: manifest.decode(data)),
    "zip": Reader(archives.zipped, partial(_inspect, "a.zip")),
    "tar": Reader(archives.tar, partial(_inspect, "a.tar")),
}
"""Those of files."""

TEXTS: dict[str, Reader] = {
    name: _texts(pieces, read) for name, (read, pieces) in clients.READERS.items()
}
"""Those of what clients send beside files."""

READERS = FILES | TEXTS
