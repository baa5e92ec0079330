"""A sealed worker can do everything that a conversion needs."""

from __future__ import annotations

import ctypes
import hashlib
import importlib
import json
import os
import signal
import sys
import tempfile
import threading
import zlib
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from convlast.containers.mapping import Mapping
from convlast.conversion import JobSettings, convert_into
from convlast.options import Options
from service.workers import warming
from tests.service.sandbox.sandboxed import (
    MAX_FILE_BYTES,
    needs_landlock,
    needs_seccomp,
    run_inside,
)

LATE = ["wave", "sqlite3", "torch.ao.pruning", "convlast.client", "prometheus_client"]
CONV = torch.nn.Conv3d(4, 8, 3)


def convolve(device: str) -> list[Any]:
    """Run convolutions in both layouts, on all cores, in the sandbox."""
    dtype = torch.float16 if device == "cuda" else torch.float32
    volume = torch.ones(2, 4, 24, 24, 24, dtype=dtype, device=device)
    weight = torch.ones(8, 4, 3, 3, 3, dtype=dtype, device=device)
    results = [
        torch.nn.functional.conv3d(volume.to(memory_format=layout), weight.to(memory_format=layout))
        for layout in (torch.contiguous_format, torch.channels_last_3d)
    ]
    return [float(result.float().mean()) for result in results]


def warm_up_again(device: str) -> list[str]:
    """Run each step of the warm-up in the sandbox, and return those that fail, and why."""
    warming._allowed_to_fail = nullcontext  # type: ignore[assignment]  # in this process alone
    failed = []
    for name, step in warming.STEPS.items():
        try:
            step(torch.device(device))
        except Exception as error:
            failed.append(f"{name}: {error}")
    return failed


def start_threads() -> list[int]:
    """Start threads of each kind, more than the warm-up has left."""
    torch.set_num_threads(3)
    torch.ones(1 << 22).add_(1).sum().item()
    done: list[int] = []
    threads = [threading.Thread(target=done.append, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(done)


def load_mapped(path: str) -> float:
    """Load a checkpoint without reading it into memory."""
    loaded = torch.load(path, mmap=True, weights_only=True)
    return float(loaded["weight"].sum())


def find_mapped(path: str) -> list[int]:
    """Return where in the file the tensors of a mapped checkpoint are."""
    loaded = torch.load(path, mmap=True, weights_only=True)
    mapping = Mapping(Path(path))
    return [mapping.offset_of(tensor.data_ptr()) for tensor in loaded.values()]


def write_files(folder: str) -> dict[str, str]:
    """Write, copy inside the kernel, and move, as a conversion does."""
    source = Path(folder) / "source"
    source.write_bytes(b"bytes" * 1000)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".hidden-") as hidden:
        made = Path(hidden) / "made"
        with source.open("rb") as reading, made.open("wb") as writing:
            os.copy_file_range(reading.fileno(), writing.fileno(), 5000)
            writing.truncate(4000)
        made.replace(Path(folder) / "artifact")
    with tempfile.NamedTemporaryFile() as temporary:
        kept_in = Path(temporary.name).parent
    return {"artifact": (Path(folder) / "artifact").read_text(), "temporary": str(kept_in)}


def digest() -> list[Any]:
    """Use libraries that are written in C."""
    return [hashlib.sha256(b"x").hexdigest()[:8], zlib.crc32(b"x"), len(zlib.compress(b"x"))]


def import_late() -> list[str]:
    """Import modules from each folder, none of them imported before."""
    fresh = [name for name in LATE if name not in sys.modules]
    for name in fresh:
        importlib.import_module(name)
    return fresh


def call_back() -> int:
    """Call Python from C, which needs executable memory."""
    return int(ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(lambda value: value + 1)(41))


def signal_itself() -> None:
    """Abort, as a failed assertion in C does."""
    os.abort()


def kill_itself() -> None:
    """Send a signal to this process."""
    os.kill(os.getpid(), signal.SIGTERM)


def convert(source: str, folder: str) -> dict[str, Any]:
    """Convert a checkpoint, with its smoke."""
    report, artifact = convert_into(
        source, folder, Options(input_shape=(1, 4, 8, 8, 8)), JobSettings("cpu")
    )
    smokes = [layer.smoke.status for layer in report.layers if layer.smoke]
    return {
        "verdict": report.verdict,
        "scope": report.smoke.scope if report.smoke else None,
        "layers": [layer.status for layer in report.layers],
        "smokes": smokes,
        "artifact": str(artifact),
    }


def exceed(folder: str) -> None:
    """Write a file beyond the limit."""
    with (Path(folder) / "large").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)


def test_all_walls_stand_or_are_named(folder: Path) -> None:
    """Each wall is in place, or its detail says why not."""
    parts = run_inside(digest, folder=folder).parts
    names = ["environment", "descriptors", "privileges", "limits", "files", "truncation"]
    assert [part.name for part in parts] == [*names, "dumps", "calls"]
    for part in parts:
        assert part.detail.endswith("."), part


@needs_landlock
@needs_seccomp
def test_all_walls_stand(folder: Path) -> None:
    """On a kernel that supports them, all walls of a worker are in place."""
    missing = [part for part in run_inside(digest, folder=folder).parts if not part.held]
    assert [part.name for part in missing] in ([], ["truncation"]), missing


def test_convolutions_run(folder: Path) -> None:
    """Both layouts give the same result, on threads of the warm-up and on new ones."""
    outcome = run_inside(convolve, "cpu", folder=folder)
    assert outcome.value == [108.0, 108.0], outcome


@pytest.mark.gpu
def test_convolutions_run_on_a_gpu(folder: Path) -> None:
    """The warmed-up device still works in the sealed sandbox, in fp16."""
    outcome = run_inside(convolve, "cuda", folder=folder, device="cuda")
    assert outcome.value == [108.0, 108.0], outcome
    assert all(part.held for part in outcome.parts), outcome.parts


def test_what_was_warmed_up_still_works(folder: Path) -> None:
    """Convolutions, matrices and the profiler work in the sealed sandbox."""
    failed = run_inside(warm_up_again, "cpu", folder=folder).value
    assert failed == []


@pytest.mark.gpu
def test_what_was_warmed_up_still_works_on_a_gpu(folder: Path) -> None:
    """cuDNN, cuBLAS, CUPTI, NVML and NVRTC work, none of which could start in the sandbox."""
    assert run_inside(warm_up_again, "cuda", folder=folder, device="cuda").value == []


def test_threads_start(folder: Path) -> None:
    """Threads of Python and of torch start in the sandbox."""
    outcome = run_inside(start_threads, folder=folder)
    assert outcome.value == list(range(8)), outcome


def test_checkpoint_is_mapped(folder: Path) -> None:
    """A file in the folder can be loaded by mapping it."""
    path = folder / "model.pt"
    torch.save({"weight": torch.ones(1 << 20)}, path)
    outcome = run_inside(load_mapped, str(path), folder=folder)
    assert outcome.value == 1 << 20, outcome


def test_the_kernel_tells_where_a_mapped_file_lies(folder: Path) -> None:
    """The mapping can be found, or each conversion would compare all bytes again."""
    path = folder / "model.pt"
    torch.save({"weight": torch.full((8,), 7.0)}, path)
    outcome = run_inside(find_mapped, str(path), folder=folder)
    assert outcome.value == [path.read_bytes().index(torch.full((8,), 7.0).numpy().tobytes())]


def test_file_that_was_moved_in_is_read(folder: Path, foreign: Path) -> None:
    """A file that the service moves into the folder can be read."""
    job = folder / "job"
    foreign.parent.rename(job)
    outcome = run_inside(read_text, str(job / foreign.name), folder=folder)
    assert outcome.value == "secret", outcome


def read_text(path: str) -> str:
    """Read a file."""
    return Path(path).read_text()


def test_artifacts_are_written_and_moved(folder: Path) -> None:
    """Files are made, copied inside the kernel and moved; temporary ones are in the folder."""
    outcome = run_inside(write_files, str(folder), folder=folder)
    assert outcome.value == {"artifact": "bytes" * 800, "temporary": str(folder)}, outcome


def test_libraries_work(folder: Path) -> None:
    """Digests and compression work."""
    outcome = run_inside(digest, folder=folder)
    assert outcome.value == ["2d711642", 2363233923, 9], outcome


def test_modules_are_imported_late(folder: Path) -> None:
    """The standard library, torch, this project and its dependencies can be imported."""
    outcome = run_inside(import_late, folder=folder)
    assert outcome.value == LATE, outcome


def test_c_calls_python(folder: Path) -> None:
    """Callbacks work, although no file in memory can be made."""
    assert run_inside(call_back, folder=folder).value == 42


@pytest.mark.parametrize(
    ("ending", "number"), [(signal_itself, signal.SIGABRT), (kill_itself, signal.SIGTERM)]
)
def test_worker_can_end_itself(ending: Any, number: int, folder: Path) -> None:
    """A crash in C ends the process with its own signal."""
    assert run_inside(ending, folder=folder).exit_code == -number


def test_file_size_is_limited(folder: Path) -> None:
    """A file beyond the limit gives an error, not a signal."""
    outcome = run_inside(exceed, str(folder), folder=folder)
    assert outcome.text.startswith("[Errno 27]"), outcome


def test_checkpoint_is_converted(folder: Path) -> None:
    """A conversion with its smoke runs completely."""
    source = folder / "model.pt"
    torch.save(torch.nn.Sequential(CONV, torch.nn.ReLU()).state_dict(), source)
    outcome = run_inside(convert, str(source), str(folder), folder=folder)
    assert outcome.error is None, outcome
    told = json.loads(json.dumps(outcome.value))
    assert told["verdict"] != "failed"
    assert told["scope"] == "layers"
    assert told["layers"] == ["converted"]
    artifact = torch.load(told["artifact"], weights_only=True)
    assert artifact["0.weight"].is_contiguous(memory_format=torch.channels_last_3d)
    assert torch.equal(artifact["0.weight"], CONV.weight)
