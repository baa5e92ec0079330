"""A converted checkpoint as a safetensors file.

The format knows no strides, so the bytes are contiguous, as its every reader expects; the
manifest in the metadata carries the layout, and `convlast.load` applies it.
"""

from __future__ import annotations

from typing import Any

import torch

from convlast.bytes.digest import FilePart, require_crc
from convlast.checkpoints.checkpoint import Checkpoint, tensor_over
from convlast.checkpoints.guard.safetensors_header import METADATA
from convlast.checkpoints.manifest import METADATA_KEY
from convlast.checkpoints.safetensors import name_of, write_header
from convlast.checkpoints.tree import dotted
from convlast.errors import OptionError
from convlast.layout.memory_format import span_of
from convlast.planning.plan import Plan
from convlast.progress import Portions
from convlast.writing.copying import copy_range, crc_of, write_exactly
from convlast.writing.request import WriteRequest, Written


def write_safetensors(request: WriteRequest) -> Written:
    """Write a flat state dict as a safetensors file.

    Raises:
        OptionError: If the checkpoint holds more than one flat state dict of distinct tensors.
        StorageFullError: If there is no room.
    """
    checkpoint, plan = request.checkpoint, request.plan
    tensors = _flat_tensors(checkpoint, plan)
    entries: dict[str, Any] = {}
    position = 0
    for name, (_, dtype) in tensors.items():
        original = tensors[name][0]
        nbytes = original.numel() * dtype.itemsize
        entries[name] = {
            "dtype": name_of(dtype),
            "shape": list(original.shape),
            "data_offsets": [position, position + nbytes],
        }
        position += nbytes
    metadata = {"format": "pt", **checkpoint.metadata}
    metadata[METADATA_KEY] = plan.manifest(checkpoint.manifest).encode().decode()
    path = request.folder / "model.safetensors"
    with path.open("w+b") as target:
        offset = write_header(target, entries, metadata)
        target.flush()
        portions = Portions(request.progress, "write", position)
        for name, (original, dtype) in tensors.items():
            start, end = entries[name]["data_offsets"]
            if original.numel():  # else many could share a storage, which would be read for each
                _require_whole(checkpoint, original)
            if dtype == original.dtype and original.is_contiguous():
                origin = checkpoint.stored(original.untyped_storage()).offset
                first, _ = span_of(original)
                copy_range(
                    checkpoint.descriptor,
                    target.fileno(),
                    origin + first,
                    offset + start,
                    end - start,
                )
            else:
                data = _contiguous_bytes(checkpoint, original, dtype)
                write_exactly(target.fileno(), memoryview(data), offset + start)
            portions.add(end - start)
    request.follow(path, [FilePart(None)])
    return Written(path)


def _require_whole(checkpoint: Checkpoint, original: torch.Tensor) -> None:
    """Refuse a tensor whose storage has not the CRC that the input states of it."""
    stored = checkpoint.stored(original.untyped_storage())
    if stored.crc is not None:
        crc = crc_of(checkpoint.descriptor, stored.offset, stored.nbytes)
        require_crc(stored.member, stored.crc, crc)


def _flat_tensors(
    checkpoint: Checkpoint, plan: Plan
) -> dict[str, tuple[torch.Tensor, torch.dtype]]:
    """Return each tensor as it is in the input, and the dtype to write, by its key."""
    tensors: dict[str, tuple[torch.Tensor, torch.dtype]] = {}
    storages: dict[int, str] = {}
    for entry in plan.entries:
        original, value = entry.original, entry.value
        name = entry.path[0] if len(entry.path) == 1 else None
        if original is None or not isinstance(value, torch.Tensor) or not isinstance(name, str):
            raise _misfit(f"{dotted(entry.path)} is not a tensor of one flat dict")
        if name == METADATA or name != dotted(entry.path):
            raise _misfit(f"{name!r} cannot be a name in it")
        if original.is_meta or original.is_quantized or name_of(value.dtype) is None:
            raise _misfit(f"{name} has the dtype {value.dtype}")
        if original.is_conj() or original.is_neg():
            raise _misfit(f"{name} is a view that conjugates or negates what is stored")
        other = storages.setdefault(id(original.untyped_storage()), name)
        if other != name and original.numel():
            raise _misfit(f"{name} shares its storage with {other}")
        tensors[name] = (original, value.dtype)
    if not isinstance(checkpoint.root, dict) or len(checkpoint.root) != len(tensors):
        raise _misfit("there is more in it than tensors")
    return tensors


def _misfit(reason: str) -> OptionError:
    return OptionError(
        "container",
        f"This checkpoint cannot become a safetensors file: {reason}.",
        remedy="That format holds one flat dict of distinct tensors. Use container=torch.",
    )


def _contiguous_bytes(
    checkpoint: Checkpoint, original: torch.Tensor, dtype: torch.dtype
) -> bytearray:
    """Return a tensor's values in contiguous order."""
    value = checkpoint.read(original)
    data = bytearray(value.numel() * dtype.itemsize)
    tensor_over(data, dtype).view(value.shape).copy_(value)
    return data
