"""Coverage-guided fuzzing of the guard and of each reader, with atheris.

One law for every target: nothing but a `ConvlastError` comes out, within 5 seconds and 300 MiB; and
what is accepted, `torch.load(weights_only=True)` accepts too, and finds the same in the artifact.
The narrower targets compare the guard with torch and `zipfile`: a name, or a byte, that they see
and the guard does not, is a finding. Run with

    pip install atheris
    python -m benchmarks.fuzz FOLDER --seconds 300

FOLDER keeps each target's corpus, so that the next run goes on from it, and the findings: the
input, and beside it the traceback. Prints one JSON object; exits with 1 if there was a finding.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import hashlib
import importlib
import importlib.metadata
import inspect
import io
import itertools
import json
import pickle  # for the error that torch raises
import pickletools
import pkgutil
import random
import re
import resource
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import types
import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import nn

import convlast
from convlast import checkpoints
from convlast.checkpoints import archive, manifest, pickles
from convlast.checkpoints.allowing import known_names_allowed
from convlast.checkpoints.objects import is_known
from convlast.errors import ConvlastError, VerificationError
from convlast.options import Limits, Options
from tests import builders
from tests.exactness import restrided
from tests.hostile import breaks_the_safetensors_header, nests_objects, parts

TIMEOUT_S = 5
MEMORY_MIB = 300
RSS_LIMIT_MIB = 2048
MAX_LEN = 8192
MAX_STORED_BYTES = 1 << 20

_QUIET = Options(smoke="none")
_INSTRUMENTED = (
    *(f"convlast.checkpoints.{found.name}" for found in pkgutil.iter_modules(checkpoints.__path__)),
    *(f"convlast.{name}" for name in ("checkpoints", "memory_format", "plan", "weights")),
    *("convlast.writing.skeleton", "convlast.writing.torch_zip"),
    *("torch._weights_only_unpickler", "torch._utils", "zipfile", "pickletools"),
)

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


class LawBrokenError(Exception):
    """Something happened that must not."""


def convert(data: bytes, folder: Path) -> bool:
    """Convert a file; what is accepted must be what torch reads."""
    source, target = folder / "source", folder / "target"
    source.write_bytes(data)
    target.unlink(missing_ok=True)
    try:
        report = convlast.convert(source, target, _QUIET, device="cpu")
    except VerificationError:
        raise
    except ConvlastError:
        return False
    if report.verdict == "failed":
        raise LawBrokenError("accepted, and failed")
    if report.input.container == "safetensors":
        safetensors.torch.load_file(source)
        return True
    with known_names_allowed():
        root = torch.load(source, weights_only=True, map_location=lambda kept, _: kept)
        modules = modules_in(root)
        for module in modules:
            refuse_code_in(module)
        if not modules:  # which are the same only if they are one
            restrided(source, target)
    return True


def modules_in(root: object) -> list[nn.Module]:
    """Find all modules in an object."""
    found: dict[int, object] = {}
    waiting = [root]
    while waiting:
        value = waiting.pop()
        if id(value) in found:
            continue
        found[id(value)] = value
        if isinstance(value, nn.Module):
            waiting += vars(value).values()
        elif isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list | tuple):
            waiting += value
    return [value for value in found.values() if isinstance(value, nn.Module)]


def refuse_code_in(module: nn.Module) -> None:
    """Check that a module holds nothing that can be called, and hides none of its methods."""
    for name, held in vars(module).items():
        if callable(held) or hasattr(type(module), name):
            raise LawBrokenError(f"a module holds code as {name!r}")


def convert_pickle(data: bytes, folder: Path) -> bool:
    """Convert the archive in which this pickle would be right."""
    try:
        made = zip_around(data)
    except (ConvlastError, UnicodeEncodeError):
        return False
    return convert(made, folder)


def convert_legacy_pickle(data: bytes, folder: Path) -> bool:
    """Convert the legacy file in which this pickle would be right."""
    try:
        made = legacy_around(data)
    except (ConvlastError, struct.error):
        return False
    return convert(made, folder)


def scan(data: bytes, folder: Path) -> bool:
    """List a pickle's names; torch must not know of others."""
    try:
        found = pickles.scan(io.BytesIO(data))
    except ConvlastError:
        return False
    unsafe = set(pickles.unsafe_names(found.names))
    archive_path = folder / "names.pt"
    archive_path.write_bytes(parts.torch_zip(data))
    try:
        known = set(torch.serialization.get_unsafe_globals_in_checkpoint(archive_path))
    except pickle.UnpicklingError:
        return False
    missed = sorted(name for name in known - unsafe if not is_known(name))
    if missed:
        raise LawBrokenError(f"names that the scan has not seen: {missed}")
    return True


def read_directory(data: bytes, folder: Path) -> bool:
    """Read an archive's members; torch and `zipfile` must not read others."""
    path = folder / "archive.zip"
    path.write_bytes(data)
    try:
        found = archive.read_directory(path, Limits())
        contents = {name: found.read(name) for name in found.members}
    except ConvlastError:
        return False
    with zipfile.ZipFile(path) as other:
        for name, content in contents.items():
            with contextlib.suppress(zipfile.BadZipFile):
                if other.read(f"{found.root}/{name}") != content:
                    raise LawBrokenError(f"zipfile reads {name!r} otherwise")
    with contextlib.suppress(RuntimeError):
        _compare_with_torch(torch._C.PyTorchFileReader(str(path)), contents)
    return True


def _compare_with_torch(reader: Any, contents: dict[str, bytes]) -> None:
    for name, content in contents.items():
        if reader.has_record(name) and reader.get_record(name) != content:
            raise LawBrokenError(f"torch reads {name!r} otherwise")


def decode(data: bytes, _folder: Path) -> bool:
    """Read a manifest; the strides it gives must be ones that a tensor can have."""
    found = manifest.decode(data)
    if found is None:
        return False
    for layer in found.layers:
        try:
            tensor = torch.empty(layer.shape, device="meta")
        except (RuntimeError, TypeError):
            continue  # no tensor has this shape, so nothing asks for its strides
        for strides in (
            found.stride_before(layer.name, layer.shape),
            found.stride_after(layer.key, layer.shape),
        ):
            tensor.as_strided(layer.shape, strides or tensor.stride())
    return True


def stored(numel_bytes: int) -> bytes:
    """Return bytes for a storage, no two neighbours alike."""
    if numel_bytes > MAX_STORED_BYTES:
        raise ConvlastError("more than is tried here")
    return (bytes(range(251)) * (numel_bytes // 251 + 1))[:numel_bytes]


def zip_around(pickled: bytes) -> bytes:
    """Return the archive that has each storage that a pickle refers to."""
    references = pickles.scan(io.BytesIO(pickled)).storages[:100]
    members = {f"data/{each.key}": stored(each.nbytes) for each in references}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        for name, content in {"data.pkl": pickled, **members, "version": b"3\n"}.items():
            made.writestr(zipfile.ZipInfo(f"archive/{name}"), content)
    return buffer.getvalue()


def legacy_around(pickled: bytes) -> bytes:
    """Return the legacy file that has each storage that a pickle refers to."""
    references = {each.key: each for each in pickles.scan(io.BytesIO(pickled)).storages[:100]}
    keys = b"".join(parts.text(key) for key in references)
    storages = b"".join(
        struct.pack("<Q", each.nbytes // each.item_bytes) + stored(each.nbytes)
        for each in references.values()
    )
    head = split_pickles(parts.sound_legacy())[:3]
    return b"".join([*head, pickled, b"\x80\x02](", keys, b"e.", storages])


def split_pickles(data: bytes) -> list[bytes]:
    """Return the five pickles of a legacy file."""
    stream, ends = io.BytesIO(data), [0]
    for _ in range(5):
        for _ in pickletools.genops(stream):
            pass
        ends.append(stream.tell())
    return [data[start:end] for start, end in itertools.pairwise(ends)]


def opcodes(data: bytes) -> list[bytes]:
    """Cut bytes into opcodes, as far as they are such; the rest is one piece."""
    stream, pieces, start = io.BytesIO(data), list[bytes](), 0
    while start < len(data):
        stream.seek(start)
        try:
            positions = [position for _, _, position in pickletools.genops(stream)]
        except Exception:
            break
        positions.append(stream.tell())
        pieces += [data[a:b] for a, b in itertools.pairwise(positions)]
        start = stream.tell()
    return [*pieces, data[start:]] if start < len(data) else pieces


def mutate_opcodes(data: bytes, lot: random.Random) -> bytes:
    """Drop, repeat, move or insert opcodes."""
    pieces = opcodes(data)
    for _ in range(lot.randint(1, 4)):
        start = lot.randrange(len(pieces) + 1)
        end = min(len(pieces), start + lot.choice([1, 1, 1, 2, 4, 8]))
        taken = pieces[start:end]
        act = lot.randrange(4)
        if act == 0:
            del pieces[start:end]
        elif act == 1:
            place = lot.randrange(len(pieces) + 1)
            pieces[place:place] = taken
        elif act == 2:
            pieces[start:start] = [lot.choice(_SPARE_OPCODES)]
        elif taken:
            pieces[start] = lot.choice(_SPARE_OPCODES)
    return b"".join(pieces)


_SPARE_OPCODES = [
    *(opcode.code.encode("latin-1") for opcode in pickletools.opcodes if opcode.arg is None),
    *map(parts.number, (-1, 0, 1, 2, 3, 255, 1 << 31, 1 << 62, 1 << 63)),
    *(b"h" + bytes([index]) for index in range(8)),
    *(b"q" + bytes([index]) for index in range(8)),
    *map(parts.text, ("", "storage", "0", "1", "cpu", "cuda:0", "conv.weight", "\ud800")),
    *(b"ctorch\n" + name.encode() + b"\n" for name in (*pickles.ITEM_BYTES, "Size", "float32")),
    *(b"ctorch._utils\n" + name + b"\n" for name in (
        b"_rebuild_tensor", b"_rebuild_tensor_v2", b"_rebuild_tensor_v3", b"_rebuild_parameter",
        b"_rebuild_parameter_with_state", b"_rebuild_qtensor", b"_rebuild_meta_tensor_no_storage",
        b"_rebuild_sparse_tensor",
    )),
    b"ctorch._tensor\n_rebuild_from_type_v2\n", b"ctorch.nn.parameter\nParameter\n",
    b"ccollections\nOrderedDict\n", b"ccollections\nCounter\n", b"cbuiltins\nset\n",
    b"c_codecs\nencode\n", b"cos\nsystem\n", b"ctorch.serialization\n_get_layout\n",
    b"ctorch.nn.modules.conv\nConv3d\n", b"ctorch.nn.modules.container\nSequential\n",
    *map(parts.text, ("forward", "training", "_modules", "_parameters", "_forward_hooks")),
    b"ctorch\nTensor\n", b"ctorch\ndevice\n", b"cbuiltins\nbytearray\n",
]  # fmt: skip


def mutate_header(data: bytes, lot: random.Random) -> bytes:
    """Change a safetensors header and state its length, so that it is read at all."""
    length = min(struct.unpack("<Q", data[:8].ljust(8, b"\0"))[0], len(data))
    header, tail = data[8 : 8 + length], data[8 + length :]
    tokens = re.findall(rb'"[^"]*"|\d+|[^"\d]', header)
    for _ in range(lot.randint(1, 3)):
        index = lot.randrange(len(tokens) + 1)
        spare = lot.choice([lot.choice(tokens or [b"{}"]), lot.choice(_SPARE_TOKENS)])
        tokens[index : index + lot.randrange(2)] = [spare][: lot.randrange(3)]
    header = b"".join(tokens)
    if lot.random() < 0.3:
        tail = tail[: lot.randrange(len(tail) + 1)] + bytes(lot.randrange(32))
    return struct.pack("<Q", len(header)) + header + tail


_SPARE_TOKENS = [
    *(f'"{name}"'.encode() for name in ("F32", "BOOL", "F8_E8M0", "C64", "F4", "__metadata__")),
    b'"dtype"', b'"shape"', b'"data_offsets"', b'"convlast"', b'"\\ud800"', b'"\\u0000"',
    b"0", b"1", b"-1", b"1e3", b"1.0", b"4294967296", b"9223372036854775808", b"null", b"true",
    b"NaN", b"[", b"]", b"{", b"}", b",", b":",
]  # fmt: skip


def zip_seeds() -> Iterator[bytes]:
    """Save the builders' objects in the zip format."""
    yield from (parts.sound_small(), parts.sound())
    yield from _saved(builders.save)


def legacy_seeds() -> Iterator[bytes]:
    """Save the builders' objects in the legacy format."""
    yield parts.sound_legacy()
    yield from _saved(builders.save_legacy)


def safetensors_seeds() -> Iterator[bytes]:
    """Return headers of several kinds."""
    header = breaks_the_safetensors_header
    yield from (
        header.sound(), header.with_metadata({"a": "b"}), header.with_metadata(None),
        header.overflowing_shape(0), header.of_an_unknown_dtype(),
        header.with_metadata({"convlast": next(manifest_seeds()).decode()}),
    )  # fmt: skip


def pickle_seeds() -> Iterator[bytes]:
    """Return pickles of tensors of several kinds."""
    for data in zip_seeds():
        with zipfile.ZipFile(io.BytesIO(data)) as opened:
            name = next(name for name in opened.namelist() if name.endswith("data.pkl"))
            yield opened.read(name)
    with zipfile.ZipFile(io.BytesIO(nests_objects.itself_in_a_dict())) as opened:
        yield opened.read("archive/data.pkl")


def legacy_pickle_seeds() -> Iterator[bytes]:
    """Return pickles as they stand in legacy files."""
    for data in legacy_seeds():
        yield split_pickles(data)[3]


def a_module() -> nn.Module:
    """Return a whole model, which is pickled as such."""
    return nn.Sequential(
        nn.Conv3d(1, 2, 2), nn.BatchNorm3d(2), nn.ReLU(), nn.ParameterList([torch.ones(2)])
    )


def manifest_seeds() -> Iterator[bytes]:
    """Return one manifest."""
    layer = manifest.LayerLayout(
        name="conv",
        key="conv.weight",
        shape=(2, 3, 1, 1, 2),
        stride_before=(6, 2, 2, 2, 1),
        stride_after=(6, 1, 6, 6, 3),
    )
    yield manifest.Manifest(memory_format="channels_last_3d", layers=(layer,)).encode()


def _saved(save: Callable[[object, Path], Path]) -> Iterator[bytes]:
    makers = (
        builders.one_convolution, builders.tied_weights, builders.aliases,
        builders.overlapping_views, builders.neighbours, builders.with_parameters,
        builders.nested_wrappers, builders.with_optimizer, builders.without_convolutions, a_module,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        for make in makers:
            yield save(make(), Path(folder, "saved")).read_bytes()


TARGETS = {
    "zip": Target(convert, zip_seeds),
    "zip pickle": Target(convert_pickle, pickle_seeds, mutate_opcodes),
    "legacy": Target(convert, legacy_seeds, mutate_opcodes),
    "legacy pickle": Target(convert_legacy_pickle, legacy_pickle_seeds, mutate_opcodes),
    "safetensors": Target(convert, safetensors_seeds, mutate_header),
    "scan": Target(scan, pickle_seeds, mutate_opcodes),
    "directory": Target(read_directory, zip_seeds),
    "manifest": Target(decode, manifest_seeds),
}


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


def main() -> None:
    """Fuzz each target, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
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
        "torch": torch.__version__,
        "convlast": convlast.__version__,
        "python": sys.version.split()[0],
        "date": time.strftime("%Y-%m-%d"),
    }
    print(json.dumps(outcome, indent=2))
    sys.exit(1 if any(each["findings"] for each in results.values()) else 0)


if __name__ == "__main__":
    main()
