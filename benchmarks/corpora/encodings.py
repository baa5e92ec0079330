"""The ways in which one file can be sent: as it is, and as a part of what torch reads."""

from __future__ import annotations

import io
import pickletools
import re
import zipfile
from collections.abc import Iterator

from benchmarks.corpora.rewriting import in_protocol_two
from tests.hostile import parts

AS_IT_IS = "as it is"
MAX_FILE_BYTES = 64 << 20

_PICKLE_NAME = re.compile(r"\.(pkl|pickle|dill|joblib|bin|pt|pth|ckpt|dat)$")


def encodings(name: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield a file as it is, and in every other way in which it can be sent."""
    yield AS_IT_IS, data
    if data[:2] == b"PK":
        try:
            members = _members(data)
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, ValueError):
            return
        yield "beside a sound checkpoint", beside_a_sound_checkpoint(members)
        for member, content in members.items():
            if _PICKLE_NAME.search(member):
                yield from _pickle_encodings(content)
    elif _PICKLE_NAME.search(name) or in_protocol_two(data):
        yield from _pickle_encodings(data)


def _pickle_encodings(data: bytes) -> Iterator[tuple[str, bytes]]:
    yield "in a zip", parts.torch_zip(data)
    yield "in a legacy file", legacy_around(data)
    if rewritten := in_protocol_two(data):
        yield "in a zip, protocol 2", parts.torch_zip(rewritten)
        yield "in a legacy file, protocol 2", legacy_around(rewritten)


def _members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        sizes = [entry.file_size for entry in archive.infolist()]
        if sum(sizes) > MAX_FILE_BYTES:
            return {}
        return {name: archive.read(name) for name in archive.namelist()}


def beside_a_sound_checkpoint(members: dict[str, bytes]) -> bytes:
    """Return a sound checkpoint that has these members too."""
    buffer = io.BytesIO(parts.sound())
    with zipfile.ZipFile(buffer, "a") as archive:
        present = set(archive.namelist())
        for name, content in members.items():
            if f"archive/{name}" not in present:
                archive.writestr(zipfile.ZipInfo(f"archive/{name}"), content)
    return buffer.getvalue()


def legacy_around(pickled: bytes) -> bytes:
    """Return a legacy file with this pickle for its objects, and no storages."""
    stream = io.BytesIO(parts.sound_legacy())
    for _ in range(3):  # magic number, protocol, system
        for _ in pickletools.genops(stream):
            pass
    return stream.getvalue()[: stream.tell()] + pickled + b"\x80\x02]."
