"""Archives that can be grown: many members, or few of which much is said."""

from __future__ import annotations

import io
import random
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from functools import partial

from tests.growing.programs import Part, Program, again, long, numbered, once, program
from tests.hostile.packs_a_folder import entry, tarred
from tests.hostile.parts import sound_small

MOST = 0xFFFF
"""Bytes of a name, of further fields, or of a comment in a zip."""

Name = Callable[[int], str]
_NAMES: dict[str, Name] = {
    "short": lambda index: f"{index}",
    "in a folder": lambda index: f"a/{index}",
    "in the same folder": lambda index: f"a/data/{index}",
    "in a folder of its own": lambda index: f"a{index}/b",
    "in the root": lambda index: f"a/{index}/" + "b/" * 20 + "c",
    "the same": lambda _: "a/b",
    "long": lambda index: f"a/{index}" + 40_000 * "b",
    "of many folders": lambda index: f"a/{index}" + 20_000 * "/b",
    "of accents": lambda index: f"a/{index}" + 30 * "\N{COMBINING GRAVE ACCENT}",
    "of capitals": lambda index: f"a/{'A' if index % 2 else 'a'}{index // 2}",
    "of dots": lambda index: f"a/{index}" + 10_000 * "/.",
}
_FIELDS: dict[str, bytes] = {
    "no fields": b"",
    "many fields": struct.pack("<HH", 0xCAFE, 0) * (MOST // 4),
    "one long field": struct.pack("<HH", 0xCAFE, MOST - 4) + bytes(MOST - 4),
    "fields that lie": struct.pack("<HH", 1, 8) * 100,
    "names in fields": (struct.pack("<HHBI", 0x7075, 6, 1, 0) + b"a") * 1000,
}
_DATA = {"nothing": b"", "a byte": b"x", "a checkpoint": sound_small()}


def zipped(lot: random.Random) -> Program:
    """Draw a zip, of a checkpoint or of a folder."""
    told = [lot.choice([*table]) for table in (_NAMES, _FIELDS, _DATA)]
    name, fields, data = _NAMES[told[0]], _FIELDS[told[1]], _DATA[told[2]]
    comment = lot.choice([b"", b"", bytes(MOST)])
    is_checkpoint, are_one = lot.random() < 0.5, lot.random() < 0.2

    def grown(nbytes: int) -> bytes:
        local, directory, index = bytearray(), bytearray(), 0
        for one, content in _sound_members(is_checkpoint):
            index += _add(local, directory, one, b"", content)
        start, number = len(local), 0
        while len(local) + len(directory) < nbytes:
            if are_one and number:
                _enter(directory, name(number).encode(), fields, b"", start)
            else:
                _add(local, directory, name(number).encode(), fields, data)
            number += 1
        count = min(index + number, MOST)
        end = struct.pack(
            "<4s4H2IH", b"PK\x05\x06", 0, 0, count, count, len(directory), len(local), len(comment)
        )
        return bytes(local + directory + end + comment)

    kinds = ["checkpoint" if is_checkpoint else "folder", "at one place" if are_one else "apart"]
    return Program(", ".join((*kinds, *told, f"{len(comment)} bytes of comment")), grown)


def _sound_members(is_checkpoint: bool) -> list[tuple[bytes, bytes]]:
    if not is_checkpoint:
        return [(b"model.pt", sound_small())]
    with zipfile.ZipFile(io.BytesIO(sound_small())) as archive:
        return [(name.encode(), archive.read(name)) for name in archive.namelist()]


def _add(
    local: bytearray, directory: bytearray, name: bytes, fields: bytes, data: bytes
) -> int:  # fmt: skip
    """Add a member, and say how many that is."""
    offset = len(local)
    sizes = (zlib.crc32(data), len(data), len(data), len(name), 0)
    local += struct.pack("<4s5H3I2H", b"PK\x03\x04", 20, 0x800, 0, 0, 0, *sizes) + name + data
    _enter(directory, name, fields, data, offset)
    return 1


def _enter(directory: bytearray, name: bytes, fields: bytes, data: bytes, offset: int) -> None:
    crc = zlib.crc32(data)
    sizes = (crc, len(data), len(data), len(name), len(fields), 0, 0, 0, 0, offset)
    directory += struct.pack("<4s6H3I5H2I", b"PK\x01\x02", 20, 20, 0x800, 0, 0, 0, *sizes)
    directory += name + fields


def tar(lot: random.Random) -> Program:
    """Draw a tar of a folder."""
    first, end = tarred()[:-10240], bytes(1024)
    plain = [
        numbered("file", lambda index: entry(f"a{index}").tobuf()),
        numbered("folder", lambda index: entry(f"a{index}", tarfile.DIRTYPE).tobuf()),
        numbered("file in folders", lambda index: entry("b/" * 30 + str(index)).tobuf()),
        again(entry("a").tobuf()),
        numbered("link", lambda index: entry(f"a{index}", tarfile.SYMTYPE).tobuf()),
    ]
    described = [
        numbered(f"{told} with {what}", partial(_described_file, _described(kind, data)))
        for told, kind in _DESCRIPTIONS.items()
        for what, data in _RECORDS.items()
    ]
    described_at_length = [
        numbered(
            "a description of all with further records",
            lambda index: _described(
                tarfile.XGLTYPE, b"".join(b"15 a%04d%04d=b\n" % (index, n) for n in range(100))
            ),
        ),
        again(_described(tarfile.XHDTYPE, b"14 comment=ab\n")),
        again(_described(tarfile.GNUTYPE_LONGNAME, b"a\0")),
        long("description", lambda nbytes: _described(tarfile.XHDTYPE, b"9" * nbytes)),
        long("name", lambda nbytes: _described(tarfile.GNUTYPE_LONGNAME, b"a" * nbytes)),
    ]
    groups = (plain, described, described_at_length)
    drawn: list[Part] = [lot.choice(lot.choice(groups)) for _ in range(lot.randint(1, 2))]
    told = program([Part("a sound checkpoint", lambda _: first), *drawn, once(b"")]).told
    return Program(told, program([once(first), *drawn, once(end)]).grown)


_DESCRIPTIONS = {
    "a description": tarfile.XHDTYPE,
    "a description of all": tarfile.XGLTYPE,
    "a long name": tarfile.GNUTYPE_LONGNAME,
    "a long link": tarfile.GNUTYPE_LONGLINK,
}
_RECORDS = {
    "one record": b"14 comment=ab\n",
    "many records": b"14 comment=ab\n" * 4000,
    "other records": b"".join(b"12 a%05d=b\n" % index for index in range(5000)),
    "numbers": b"1" * 60_000,
    "blanks": b" " * 60_000,
    "sparse records": b"22 GNU.sparse.size=10\n" * 2000,
    "a map": b"28 GNU.sparse.map=0,1,2,3,4\n" * 2000,
}


def _described_file(description: bytes, index: int) -> bytes:
    return description + entry(f"a{index}").tobuf()


def _described(kind: bytes, data: bytes) -> bytes:
    """Return the header of what describes the next member, and that."""
    return entry("././@PaxHeader", kind, size=len(data)).tobuf() + data + bytes(-len(data) % 512)
