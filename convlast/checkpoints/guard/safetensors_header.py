"""The header of a safetensors file, bounded before it is parsed.

Parsing one of 27 MB takes ten times as much memory. The safetensors library judges the rest.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import IO, Any

from convlast.errors import LimitExceededError, MalformedCheckpointError
from convlast.options import Limits

METADATA = "__metadata__"


def read_header(path: Path, limits: Limits) -> tuple[dict[str, Any], int]:
    """Return the parsed header, and where the data begins.

    Raises:
        LimitExceededError: If the header is larger than `max_header_bytes`.
        MalformedCheckpointError: If it is cut short or is not a JSON object.
    """
    with path.open("rb") as file:
        nbytes = struct.unpack("<Q", _read(file, 8))[0]
        if nbytes > limits.max_header_bytes:
            raise LimitExceededError(
                "The safetensors header is large",
                limit="max_header_bytes",
                allowed=limits.max_header_bytes,
                found=nbytes,
            )
        text = _read(file, nbytes)
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MalformedCheckpointError("The safetensors header is not JSON.") from error
    if not isinstance(header, dict):
        raise MalformedCheckpointError("The safetensors header is not a JSON object.")
    return header, 8 + nbytes


def _read(file: IO[bytes], nbytes: int) -> bytes:
    data = file.read(nbytes)
    if len(data) < nbytes:
        raise MalformedCheckpointError(
            "The file ends inside its safetensors header.",
            remedy="It is truncated: fetch it anew from where it came.",
        )
    return data
