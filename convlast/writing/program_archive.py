"""A converted program: the input's archive, with other strides and other bytes in their place.

Nothing is saved anew by `torch.jit` or `torch.export`, which drop records and write the code in a
version of their own. Every member stays as it is, in its place, but for those that describe
converted weights, and these weights' own.
"""

from __future__ import annotations

import shutil
import struct
import zipfile
from typing import IO

import torch

from convlast.bytes.digest import FilePart
from convlast.checkpoints import manifest as manifests
from convlast.checkpoints.programs.zipped_program import ZippedProgram
from convlast.planning.plan import LayerPlan
from convlast.progress import Portions
from convlast.writing.permutation import permuted
from convlast.writing.request import WriteRequest, Written

_ALIGNMENT = 64
"""Of a stored member's bytes, as torch's own writer has them."""

_HEADER_BYTES = 30
"""Of a member's header, without its name and its extra fields."""

_PADDING = b"FB"
"""The tag of the extra field that torch's writer pads with."""


def write_program(request: WriteRequest, extension: str) -> Written:
    """Write a program as a zip archive.

    Args:
        request: What to write; its checkpoint is a program.
        extension: The extension by which PyTorch knows what to expect of the file.
    """
    program, plan = request.checkpoint, request.plan
    assert isinstance(program, ZippedProgram)  # noqa: S101  # no other becomes one; for mypy
    changed = program.rewritten()
    weights: dict[str, list[LayerPlan]] = {}
    for decision in plan.conversions:
        member = program.stored(decision.original.untyped_storage()).member
        weights.setdefault(member, []).append(decision)
    path = request.folder / f"program{extension}"
    with zipfile.ZipFile(program.path) as source, zipfile.ZipFile(path, "w") as target:
        assert target.fp is not None  # noqa: S101  # it is open; for mypy
        entries = source.infolist()
        portions = Portions(request.progress, "write", sum(entry.file_size for entry in entries))
        for entry in entries:
            name = entry.filename.partition("/")[2]
            if name == manifests.MEMBER:
                continue
            new = _entry_like(entry, target.fp)
            if name in changed:
                target.writestr(new, changed[name])
            elif name in weights:
                target.writestr(new, _converted(program, name, weights[name], request.device))
            else:
                with source.open(entry) as old, target.open(new, "w") as copy:
                    shutil.copyfileobj(old, copy, 1 << 20)
            portions.add(entry.file_size)
        # A ZipInfo made from a name alone is dated 1980-01-01, the same on every machine.
        note = zipfile.ZipInfo(f"{program.members.root}/{manifests.MEMBER}")
        target.writestr(note, plan.manifest(program.manifest).encode())
    request.follow(path, [FilePart(None)])
    return Written(path)


def _converted(
    program: ZippedProgram, member: str, decisions: list[LayerPlan], device: torch.device
) -> bytes:
    """Return a storage's bytes with each of these weights in its new order."""
    data = bytearray(program.member(member))
    for decision in decisions:
        weight = program.read(decision.original)
        start = int(decision.original.storage_offset()) * weight.itemsize
        new = permuted(weight, decision.stride_after, device)
        data[start : start + len(new)] = new
    return bytes(data)


def _entry_like(entry: zipfile.ZipInfo, file: IO[bytes]) -> zipfile.ZipInfo:
    """Describe a member as it was; one that is stored begins at a multiple of 64 again."""
    new = zipfile.ZipInfo(entry.filename, entry.date_time)
    new.compress_type, new.external_attr = entry.compress_type, entry.external_attr
    new.file_size = entry.file_size
    if entry.compress_type == zipfile.ZIP_STORED:
        header = file.tell() + _HEADER_BYTES + len(entry.filename.encode()) + 4
        padding = -header % _ALIGNMENT
        new.extra = struct.pack("<2sH", _PADDING, padding) + b"Z" * padding
    return new
