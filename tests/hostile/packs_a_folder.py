"""An archive of a model folder that would harm whoever unpacks it, here or later."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import warnings
import zipfile
from collections.abc import Callable

from tests.hostile.parts import central_header, patched, sound


def zipped(*members: tuple[str, bytes], sound_too: bool = True) -> bytes:
    """Return a zip of a sound checkpoint and these members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, data in (("model.pt", sound()), *members) if sound_too else members:
            archive.writestr(zipfile.ZipInfo(name), data)
    return buffer.getvalue()


def tarred(*entries: tarfile.TarInfo, mode: str = "w") -> bytes:
    """Return a tar of a sound checkpoint and these members, which are all zeros."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]  # any mode
        model = tarfile.TarInfo("model.pt")
        model.size = len(sound())
        archive.addfile(model, io.BytesIO(sound()))
        for entry in entries:
            archive.addfile(entry, io.BytesIO(bytes(min(entry.size, 1 << 20))))
    return buffer.getvalue()


def entry(name: str, kind: bytes = tarfile.REGTYPE, **more: str | int) -> tarfile.TarInfo:
    """Return a member of a tar."""
    made = tarfile.TarInfo(name)
    made.type = kind
    for field, value in more.items():
        setattr(made, field, value)
    return made


def zip_with_mode(mode: int, content: bytes = b"/etc/passwd") -> bytes:
    """Return a zip with a member of a kind that Unix knows: a link, a device, a pipe."""
    buffer = io.BytesIO(zipped())
    with zipfile.ZipFile(buffer, "a") as archive:
        info = zipfile.ZipInfo("link")
        info.create_system, info.external_attr = 3, mode << 16
        archive.writestr(info, content)
    return buffer.getvalue()


def zip_marked_as_encrypted() -> bytes:
    """Return a zip that says a member is encrypted."""

    def change(data: bytearray) -> None:
        data[central_header(data, "secret") + 8] |= 1

    return patched(zipped(("secret", b"x")), change)


def zip_with_two_names() -> bytes:
    """Return a zip whose directory and local header disagree on a name."""
    data = zipped(("sound.txt", b"x"))
    where = data.index(b"sound.txt")
    return data[:where] + b"other.txt" + data[where + 9 :]


def zip_with_one_member_in_many_places(count: int = 40) -> bytes:
    """Return a zip whose entries all stand for one megabyte of zeros, a few bytes as stored.

    Source: David Fifield, "A better zip bomb" (https://www.bamsoftware.com/hacks/zipbomb/).
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.pt", sound())
        archive.writestr("a000", bytes(1 << 20))
    data = buffer.getvalue()
    start, end = central_header(data, "a000"), data.rindex(b"PK\x05\x06")
    one = data[start:end]
    names = [f"a{index:03}".encode() for index in range(1, count)]
    entries = b"".join(one.replace(b"a000", name) for name in names)
    tail = bytearray(data[end:])
    size = struct.unpack_from("<I", tail, 12)[0] + len(entries)
    struct.pack_into("<HHI", tail, 8, count + 1, count + 1, size)
    return data[:end] + entries + bytes(tail)


def zip_with_overlapping_members() -> bytes:
    """Return a zip in which one member goes on over the next one."""

    def change(data: bytearray) -> None:
        nbytes = data.index(b"second") + 6 - data.index(b"first")
        struct.pack_into("<II", data, central_header(data, "a") + 20, nbytes, nbytes)

    return patched(zipped(("a", b"first"), ("b", b"second"), sound_too=False), change)


def zip_with_a_folder_of_compressed_bytes() -> bytes:
    """Return a zip with a folder that unpacks to nothing, and has many bytes."""

    def change(data: bytearray) -> None:
        struct.pack_into("<I", data, central_header(data, "a/") + 24, 0)

    return patched(zipped(("a/", bytes(1000)), sound_too=False), change)


def zip_bomb(nbytes: int = 1 << 30) -> bytes:
    """Return a zip of a member that is a thousand times as large as what is stored for it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("model.pt", sound())
        with archive.open("zeros", "w") as member:
            for _ in range(nbytes >> 20):
                member.write(bytes(1 << 20))
    return buffer.getvalue()


def zip_that_says_less(nbytes: int = 1 << 24) -> bytes:
    """Return a zip whose directory says that a member is small, which unpacks to more."""
    data = bytearray(zip_bomb(nbytes))
    struct.pack_into("<I", data, central_header(data, "zeros") + 24, 10)
    return bytes(data)


def tar_gz_bomb(nbytes: int = 1 << 30) -> bytes:
    """Return a compressed tar of zeros."""
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=1, mtime=0) as file:
        file.write(entry("zeros", size=nbytes).tobuf())
        for _ in range(nbytes >> 20):
            file.write(bytes(1 << 20))
        file.write(bytes(1024))
    return buffer.getvalue()


def tar_with_header(change: Callable[[bytearray], None]) -> bytes:
    """Return a tar with a header that is changed, and its sum made right again."""
    header = bytearray(entry("zeros", size=512).tobuf())
    change(header)
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    return tarred()[:-10240] + bytes(header) + bytes(512 + 10240)


def tar_of_negative_size() -> bytes:
    """Return a tar with a member that leads its reader backwards."""

    def change(header: bytearray) -> None:
        header[124:136] = (-(1 << 20)).to_bytes(12, "big", signed=True)

    return tar_with_header(change)


def tar_of_any_size() -> bytes:
    """Return a tar with a member that is larger than the archive."""

    def change(header: bytearray) -> None:
        header[124:136] = b"\x80" + (1 << 60).to_bytes(11, "big")

    return tar_with_header(change)


def tar_with_large_header(nbytes: int = 1 << 28) -> bytes:
    """Return a tar in which what describes a member is said to be of a quarter of a gigabyte."""
    return entry("././@PaxHeader", tarfile.XHDTYPE, size=nbytes).tobuf() + bytes(1 << 16)


def tar_of_headers(count: int = 5000) -> bytes:
    """Return a tar of descriptions, each of which is followed by another one."""
    record = b"13 comment=ab\n"
    one = entry("././@PaxHeader", tarfile.XHDTYPE, size=len(record)).tobuf() + record.ljust(
        512, b"\0"
    )
    return one * count + tarred()


def tar_with_a_long_number(digits: int = 60_000) -> bytes:
    """Return a tar in which what describes a member is one number."""
    header = entry("././@PaxHeader", tarfile.XHDTYPE, size=digits).tobuf()
    return header + b"1" * digits + bytes(-digits % 512) + tarred()


def tar_of_records_for_all(count: int = 200, times: int = 1000) -> bytes:
    """Return a tar of many records that hold for all members, and of as many members."""
    blocks = []
    for index in range(times):
        data = b"".join(b"15 a%04d%04d=b\n" % (index, number) for number in range(count))
        header = entry("././@PaxHeader", tarfile.XGLTYPE, size=len(data)).tobuf()
        blocks += [header, data, bytes(-len(data) % 512), entry(f"a{index}").tobuf()]
    return b"".join(blocks) + tarred()


def tar_with_negative_pax_size() -> bytes:
    """Return a tar whose description gives a member a size that leads backwards."""
    record = b"18 size=-00001024\n"
    header = entry("././@PaxHeader", tarfile.XHDTYPE, size=len(record)).tobuf()
    return header + record.ljust(512, b"\0") + tarred()


def sparse_tar(nbytes: int = 1 << 40) -> bytes:
    """Return a tar with a file of holes, a terabyte of them."""
    record = b"".join(
        f"{len(text) + 4} {text}\n".encode()
        for text in ("GNU.sparse.major=1", "GNU.sparse.minor=0", f"GNU.sparse.realsize={nbytes}")
    )
    header = entry("././@PaxHeader", tarfile.XHDTYPE, size=len(record)).tobuf()
    body = entry("GNUSparseFile.0/zeros", size=512).tobuf() + b"0\n".ljust(512, b"\0")
    return header + record.ljust(512, b"\0") + body + tarred()


def old_torch_tar() -> bytes:
    """Return a checkpoint as PyTorch 0.1 wrote it."""
    return tarred(*(entry(name, size=10) for name in ("sys_info", "pickle", "tensors", "storages")))
