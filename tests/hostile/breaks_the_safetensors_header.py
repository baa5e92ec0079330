"""A safetensors file whose header lies, or is none."""

from __future__ import annotations

import json
import struct
from typing import Any

WEIGHT = {"dtype": "F32", "shape": [1, 2, 1, 1, 2], "data_offsets": [0, 16]}


def around(header: bytes, data: bytes = bytes(16)) -> bytes:
    """Return a file with this header."""
    return struct.pack("<Q", len(header)) + header + data


def of(data: bytes = bytes(16), **entries: Any) -> bytes:
    """Return a file with these entries, `conv.weight` first."""
    return around(json.dumps({"conv.weight": WEIGHT, **entries}).encode(), data)


def sound() -> bytes:
    """Return a sound file."""
    return of()


def longer_than_the_file() -> bytes:
    """Return a header that says it is longer than the file."""
    return struct.pack("<Q", 1 << 20) + b'{"conv.weight":{}}'


def too_large() -> bytes:
    """Return a header of 9 MiB."""
    return around(b'{"conv.weight":{}' + b" " * (9 << 20) + b"}")


def not_json() -> bytes:
    """Return a header that begins like JSON and is none."""
    return around(b"{conv.weight: 1}")


def deep_json() -> bytes:
    """Return a header of 100,000 nested lists."""
    return around(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}")


def with_a_hole() -> bytes:
    """Return bytes that belong to no tensor."""
    return of(bytes(32), b={"dtype": "F32", "shape": [2], "data_offsets": [24, 32]})


def overlapping() -> bytes:
    """Return two tensors on the same bytes."""
    return of(b={"dtype": "F32", "shape": [2], "data_offsets": [8, 16]})


def misfit() -> bytes:
    """Return a shape that does not fit its bytes."""
    return of(bytes(20), b={"dtype": "F32", "shape": [2], "data_offsets": [16, 20]})


def overflowing_shape(*shape: int) -> bytes:
    """Return a tensor without bytes whose shape overflows."""
    return of(b={"dtype": "F32", "shape": shape, "data_offsets": [16, 16]})


def with_metadata(metadata: Any) -> bytes:
    """Return a file with anything for its metadata."""
    return of(__metadata__=metadata)


def of_an_unknown_dtype() -> bytes:
    """Return a tensor of a dtype that the format has and that is not read here."""
    return of(bytes(24), b={"dtype": "F4", "shape": [16], "data_offsets": [16, 24]})
