"""The files in which a pickle would be right: what its storages refer to is put beside it."""

from __future__ import annotations

import io
import itertools
import pickletools
import struct
import zipfile

from convlast.checkpoints.guard import pickles
from convlast.errors import ConvlastError
from tests.hostile import parts

MAX_STORED_BYTES = 1 << 20


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
