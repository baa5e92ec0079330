"""The safetensors format: eight bytes of length, a JSON header, and the tensors' bytes.

The safetensors library judges the header; this module finds where each tensor lies, which the
library does not tell.

Source: https://huggingface.co/docs/safetensors/index#format
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import IO, Any

import torch

from convlast.checkpoints import manifest
from convlast.checkpoints.checkpoint import Checkpoint, StoredBytes
from convlast.checkpoints.guard.extents import refuse_extents
from convlast.checkpoints.guard.safetensors_header import METADATA, read_header
from convlast.errors import (
    LimitExceededError,
    MalformedCheckpointError,
    UnsupportedContainerError,
)
from convlast.options import Limits

DTYPES = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "F8_E4M3FNUZ": torch.float8_e4m3fnuz,
    "F8_E5M2FNUZ": torch.float8_e5m2fnuz,
    "F8_E8M0": torch.float8_e8m0fnu,
    "I16": torch.int16,
    "U16": torch.uint16,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I32": torch.int32,
    "U32": torch.uint32,
    "F32": torch.float32,
    "C64": torch.complex64,
    "F64": torch.float64,
    "I64": torch.int64,
    "U64": torch.uint64,
}
"""The names of the format, and torch's."""


def open_safetensors(path: Path, limits: Limits) -> Checkpoint:
    """Open a safetensors file without reading its data.

    Raises:
        CheckpointError: One of its kinds, if the file cannot be opened or must not be.
    """
    header, data_start = read_header(path, limits)
    _refuse_malformed(path)
    metadata = header.pop(METADATA, None) or {}
    if len(header) > limits.max_tensors:
        raise LimitExceededError(
            "The checkpoint has many tensors",
            limit="max_tensors",
            allowed=limits.max_tensors,
            found=len(header),
        )
    tensors: dict[str, torch.Tensor] = {}
    checkpoint = Checkpoint(path, "safetensors", tensors, holds_strides=False)
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        start, end = entry["data_offsets"]
        tensors[name] = _tensor(name, entry)
        checkpoint.add(
            tensors[name].untyped_storage(),
            StoredBytes(data_start + start, end - start, member=f"tensor {name!r}"),
        )
    checkpoint.manifest = manifest.in_metadata(metadata)
    checkpoint.metadata = metadata
    return checkpoint


def write_header(file: IO[bytes], entries: dict[str, Any], metadata: dict[str, str]) -> int:
    """Write a header, padded so that the data is aligned; return where the data begins."""
    text = json.dumps({METADATA: metadata, **entries}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    file.write(struct.pack("<Q", len(text)) + text)
    return 8 + len(text)


def name_of(dtype: torch.dtype) -> str | None:
    """Return the format's name for a dtype; None where it has none.

    >>> name_of(torch.bfloat16)
    'BF16'
    """
    return next((name for name, known in DTYPES.items() if known is dtype), None)


def _tensor(name: str, entry: dict[str, Any]) -> torch.Tensor:
    dtype = DTYPES.get(entry["dtype"])
    if dtype is None:
        raise UnsupportedContainerError(
            f"Tensor {name!r} has the dtype {entry['dtype']}, which is not read here.",
            remedy="Save it in another dtype, or leave it out.",
        )
    shape = entry["shape"]
    # Beside a 0 the others may be of any size.
    refuse_extents(shape, [0] * len(shape), 0, f"Tensor {name!r}")
    return torch.empty(shape, dtype=dtype)


def _refuse_malformed(path: Path) -> None:
    """Let the safetensors library check offsets, sizes and holes."""
    try:
        import safetensors
    except ModuleNotFoundError:
        raise UnsupportedContainerError(
            "Reading safetensors needs the package of that name.",
            remedy="pip install safetensors",
        ) from None
    try:
        with safetensors.safe_open(path, framework="pt"):
            pass
    except (safetensors.SafetensorError, OSError) as error:
        raise MalformedCheckpointError(
            f"safetensors refuses the file: {error}.",
            remedy="Compare its size with the original's: it is probably truncated.",
        ) from error
