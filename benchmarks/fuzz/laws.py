"""What must hold of every input, whatever it is: a function for each target."""

from __future__ import annotations

import contextlib
import io
import pickle  # for the error that torch raises
import struct
import zipfile
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import nn

import convlast
from benchmarks.fuzz.containers import legacy_around, zip_around
from convlast.checkpoints import manifest
from convlast.checkpoints.guard import pickles
from convlast.checkpoints.guard import zip_directory as archive
from convlast.checkpoints.guard.allowing import known_names_allowed
from convlast.checkpoints.guard.objects import is_known
from convlast.errors import ConvlastError, VerificationError
from convlast.options import Limits, Options
from tests.exactness import restrided
from tests.hostile import parts

_QUIET = Options(smoke="none")


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
