"""What the attacks are put together from: pickles by opcode, and zip files by member."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Callable

import torch

PROTOCOL = b"\x80\x02"
STOP = b"."
FLOATS = 648
"""Elements of the storage that every attack has beside what it does."""


def sound() -> bytes:
    """Return a sound checkpoint in the zip format."""
    buffer = io.BytesIO()
    torch.save({"conv.weight": torch.arange(FLOATS).float().reshape(8, 3, 3, 3, 3)}, buffer)
    return buffer.getvalue()


def sound_small() -> bytes:
    """Return a sound checkpoint in the zip format, as small as can be."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        weight = tensor((1, 2, 1, 1, 2), (4, 2, 2, 2, 1), of=storage(numel=4))
        archive.writestr(zipfile.ZipInfo("a/data.pkl"), state_dict(conv__weight=weight))
        archive.writestr(zipfile.ZipInfo("a/data/0"), bytes(range(16)))
        archive.writestr(zipfile.ZipInfo("a/version"), "3\n")
    return buffer.getvalue()


def sound_legacy() -> bytes:
    """Return a sound checkpoint in the legacy format."""
    buffer = io.BytesIO()
    weight = torch.arange(24).float().reshape(1, 3, 2, 2, 2)
    torch.save({"conv.weight": weight}, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def text(value: str) -> bytes:
    """Return the opcode that pushes a text."""
    data = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(data)) + data


def number(value: int) -> bytes:
    """Return the opcode that pushes a number."""
    data = pickle.encode_long(value)
    return b"\x8a" + bytes([len(data)]) + data


def numbers(*values: int) -> bytes:
    """Return the opcodes that push a tuple of numbers."""
    return b"(" + b"".join(map(number, values)) + b"t"


def storage(key: str = "0", numel: int = FLOATS, kind: str = "FloatStorage") -> bytes:
    """Return the opcodes that push a storage."""
    return (
        b"(" + text("storage") + f"ctorch\n{kind}\n".encode() + text(key) + text("cpu")
        + number(numel) + b"tQ"
    )  # fmt: skip


def tensor(
    shape: tuple[int, ...] = (8, 3, 3, 3, 3),
    stride: tuple[int, ...] = (81, 27, 9, 3, 1),
    offset: int = 0,
    of: bytes | None = None,
) -> bytes:
    """Return the opcodes that push a tensor."""
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n(" + (of or storage()) + number(offset)
        + numbers(*shape) + numbers(*stride) + b"\x89ccollections\nOrderedDict\n)RtR"
    )  # fmt: skip


def called(name: str, *arguments: bytes) -> bytes:
    """Return the opcodes that call something, by its dotted name."""
    return named(name) + b"(" + b"".join(arguments) + b"tR"


def named(name: str) -> bytes:
    """Return the opcode that pushes a class or function."""
    module, _, last = name.rpartition(".")
    return f"c{module}\n{last}\n".encode()


def beside_a_weight(*pairs: bytes) -> bytes:
    """Return a checkpoint of a weight, and of these keys and values."""
    weight = text("conv.weight") + tensor()
    return torch_zip(PROTOCOL + b"}(" + weight + b"".join(pairs) + b"u" + STOP)


def state_dict(**values: bytes) -> bytes:
    """Return a pickle of a dict; `__` in a name stands for a dot."""
    pairs = b"".join(text(key.replace("__", ".")) + value for key, value in values.items())
    return PROTOCOL + b"}(" + pairs + b"u" + STOP


def torch_zip(pickled: bytes, **members: bytes) -> bytes:
    """Return a checkpoint in the zip format, around a pickle."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        data = bytes(4 * FLOATS)
        for name, value in {"data.pkl": pickled, "byteorder": b"little", "data/0": data}.items():
            archive.writestr(f"archive/{name}", value)
        for name, value in members.items():
            archive.writestr(f"archive/{name.replace('__', '/')}", value)
        archive.writestr("archive/version", "3\n")
    return buffer.getvalue()


def patched(data: bytes, change: Callable[[bytearray], None]) -> bytes:
    """Return the bytes after a change in place."""
    buffer = bytearray(data)
    change(buffer)
    return bytes(buffer)


def central_header(data: bytes | bytearray, name: str) -> int:
    """Return where a member's entry in the directory starts."""
    start = data.index(b"PK\x01\x02")
    while not data[start + 46 :].startswith(name.encode()):
        start = data.index(b"PK\x01\x02", start + 4)
    return start


def local_header(data: bytes | bytearray, name: str) -> int:
    """Return where the header in front of a member's bytes starts."""
    offset: int = struct.unpack_from("<I", data, central_header(data, name) + 42)[0]
    return offset
