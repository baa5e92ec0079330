"""What a conversion costs, in numbers that do not depend on the clock or the machine."""

from __future__ import annotations

import gc
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch

import convlast
from convlast.conversion import JobSettings, Source, convert_into
from convlast.options import Options
from tests import builders

QUIET = Options(smoke="none")
COUNTS: list[Counter[str]] = []
"""Those that are being made; an audit hook stays for ever, so that there is one."""

OVERHEAD_BYTES = 2 << 20
"""Modules that are loaded, records, directories."""

CALLS_EACH = 650
"""Of Python's functions by this library's code, and in it, for one tensor more. Some 30 of them
judge the arguments of what its pickle calls."""

COLLECTIONS = 20
"""Of Python's garbage, while some hundreds of tensors are converted."""

OWN = str(Path(convlast.__file__).parent)
IO = Path("/proc/self/io")


@sys.addaudithook
def _count(event: str, arguments: tuple[object, ...]) -> None:
    for counter in COUNTS:
        counter[event] += 1


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Count what the interpreter is asked to do meanwhile."""
    counter: Counter[str] = Counter()
    COUNTS.append(counter)
    try:
        yield counter
    finally:
        COUNTS.remove(counter)


@contextmanager
def calls_counted() -> Iterator[Counter[str]]:
    """Count what this library's functions are called, and call, in all threads."""
    counter: Counter[str] = Counter()

    def count(frame: FrameType, event: str, _argument: object) -> None:
        if event in {"call", "c_call"} and frame.f_code.co_filename.startswith(OWN):
            counter[event] += 1

    threading.setprofile(count)
    sys.setprofile(count)
    try:
        yield counter
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def moved_bytes() -> tuple[int, int]:
    """Return what this process has read and written so far, the kernel's copies for it included."""
    lines = dict(line.split(": ") for line in IO.read_text().splitlines())
    return int(lines["rchar"]), int(lines["wchar"])


def converted(source: Path) -> Counter[str]:
    """Convert a checkpoint; return what was counted."""
    target = source.with_name("target.pt")
    with counted() as counter:
        convlast.convert(source, target, QUIET, device="cpu")
    target.unlink()
    return counter


def checkpoint(path: Path, tensors: int, elements: int = 27) -> Path:
    """Save so many convolution weights, and as many other tensors of their size."""
    return builders.save(
        {
            f"{index}.{kind}": torch.randn(shape)
            for index in range(tensors)
            for kind, shape in (
                ("weight", (elements // 27, 1, 3, 3, 3)),
                ("table", (elements,)),
            )
        },
        path,
    )


def test_files_are_opened_as_often_for_many_tensors_as_for_few(tmp_path: Path) -> None:
    """None is opened for a tensor."""
    few, many = (checkpoint(tmp_path / f"{count}.pt", count) for count in (3, 150))
    converted(few)  # which loads modules
    assert converted(many)["open"] == converted(few)["open"] <= 22


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_program_is_opened_as_often_for_many_tensors_as_for_few(tmp_path: Path) -> None:
    """Its directory is not read again for a tensor."""
    opened = []
    for count in (1, 1, 20):  # the first one loads modules
        layers = (torch.nn.Conv3d(2, 2, 3, bias=False) for _ in range(count))
        source = tmp_path / f"{count}.pt"
        jit: Any = torch.jit  # whose functions are not annotated
        jit.save(jit.script(torch.nn.Sequential(*layers)), source)
        with counted() as counter:
            convlast.convert(source, tmp_path / "made.pt", QUIET, device="cpu", allow_programs=True)
        opened.append(counter["open"])
    assert opened[2] == opened[1]


def test_each_of_many_tensors_costs_as_many_calls_as_each_of_few(tmp_path: Path) -> None:
    """There and back, where there is a note of what was done."""
    back = Options(smoke="none", memory_format="contiguous_format")
    made, undone = tmp_path / "made.pt", tmp_path / "undone.pt"
    calls = []
    for count in (3, 50, 100, 200):  # the first one loads modules
        source = checkpoint(tmp_path / f"{count}.pt", count)
        with calls_counted() as there:
            convlast.convert(source, made, QUIET, device="cpu")
        with calls_counted() as again:
            convlast.convert(made, undone, back, device="cpu")
        calls.append([there.total(), again.total()])
    _, few, more, most = calls
    for direction in range(2):
        each_of_few = (more[direction] - few[direction]) / (2 * 50)
        each_of_many = (most[direction] - more[direction]) / (2 * 100)
        assert each_of_many == pytest.approx(each_of_few, rel=0.01)
        assert each_of_many <= CALLS_EACH


def test_pythons_collector_hardly_looks_while_tensors_are_made(tmp_path: Path) -> None:
    """All that there is would be looked at again and again, and nothing be found."""
    source = checkpoint(tmp_path / "model.pt", 400)
    collected: list[int] = []

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            collected.append(info["generation"])

    before = gc.get_threshold()
    gc.set_threshold(700, 10, 10)  # Python's own
    gc.callbacks.append(note)
    try:
        converted(source)
    finally:
        gc.callbacks.remove(note)
        gc.set_threshold(*before)
    assert len(collected) <= COLLECTIONS


def test_no_process_is_started(tmp_path: Path) -> None:
    """By the library, in the process that called it."""
    counter = converted(checkpoint(tmp_path / "model.pt", 3))
    started = {"subprocess.Popen", "os.fork", "os.posix_spawn", "os.system", "os.exec"}
    assert not started & set(counter)


@pytest.mark.skipif(not IO.exists(), reason="this kernel does not count bytes")
@pytest.mark.parametrize(
    ("sha256", "readings"),
    [(None, 5), ("0" * 64, 4)],
    ids=["digest taken here", "digest known"],
)
def test_bytes_are_moved_as_often_as_they_must(
    tmp_path: Path, sha256: str | None, readings: int
) -> None:
    """Written once; read to write, to prove, and once for each digest that is not known.

    To prove, both files: what is only mapped would not be counted here, and is not read.
    """
    source = checkpoint(tmp_path / "model.pt", 4, elements=27 << 15)
    size_bytes = source.stat().st_size
    folder = tmp_path / "made"
    folder.mkdir()
    for _ in range(2):  # the first one loads modules
        before = moved_bytes()
        given = Source(source, source.name, sha256)
        convert_into(given, folder, QUIET, JobSettings("cpu"))
        after = moved_bytes()
    assert after[0] - before[0] <= readings * size_bytes + OVERHEAD_BYTES
    assert after[1] - before[1] <= size_bytes + OVERHEAD_BYTES


@pytest.mark.skipif(not IO.exists(), reason="this kernel does not count bytes")
def test_an_inspection_reads_no_data_where_the_digest_is_known(tmp_path: Path) -> None:
    """Names, shapes and strides are all that it needs."""
    source = checkpoint(tmp_path / "model.pt", 4, elements=27 << 15)
    for _ in range(2):  # the first one loads modules
        before = moved_bytes()
        report = convlast.inspect(Source(source, source.name, "0" * 64), QUIET)
        after = moved_bytes()
    assert report.input.sha256 == "0" * 64
    assert after[0] - before[0] <= OVERHEAD_BYTES < source.stat().st_size
