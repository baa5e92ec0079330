"""Changes to bytes that know what they mean, since most others end at the first check."""

from __future__ import annotations

import io
import itertools
import pickletools
import random
import re
import struct

from convlast.checkpoints.guard.storages import ITEM_BYTES
from tests.hostile import parts


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
    *(b"ctorch\n" + name.encode() + b"\n" for name in (*ITEM_BYTES, "Size", "float32")),
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
