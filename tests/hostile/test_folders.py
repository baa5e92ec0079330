"""Archives of model folders that would harm whoever unpacks them are refused, and leave nothing."""

from __future__ import annotations

import stat
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import convlast
from convlast.errors import ConvlastError
from convlast.options import Limits, Options
from tests.hostile import packs_a_folder as attack

QUIET = Options(smoke="none")
SMALL = Limits(max_unpacked_bytes=64 << 20)

ESCAPES = ("../a", "/a", "a/../../b", "a\\b", "..\\a", "C:\\a", "c:a", "a//b", "./../a", "a/.")

NAMES: dict[str, tuple[Callable[[], bytes], str, str]] = {
    f"{kind} {name!r}": (build, "malformed-checkpoint", "leads elsewhere")
    for name in ESCAPES
    for kind, build in {
        "zip": lambda name=name: attack.zipped((name, b"x")),
        "tar": lambda name=name: attack.tarred(attack.entry(name, size=1)),
    }.items()
    if (kind, name) != ("zip", "a\\b")  # there it means a folder, as Windows may write it
}  # fmt: skip

ATTACKS: dict[str, tuple[Callable[[], bytes], str, str]] = NAMES | {
    "a zip with a link": (
        lambda: attack.zip_with_mode(stat.S_IFLNK | 0o777), "malformed-checkpoint", "a link",
    ),
    "a zip with a device": (
        lambda: attack.zip_with_mode(stat.S_IFCHR | 0o666), "malformed-checkpoint", "neither",
    ),
    "a zip with a pipe": (
        lambda: attack.zip_with_mode(stat.S_IFIFO | 0o666), "malformed-checkpoint", "neither",
    ),
    "a zip with a member twice": (
        lambda: attack.zipped(("a", b"1"), ("a", b"2")), "malformed-checkpoint", "twice",
    ),
    "a zip with a member in two cases": (
        lambda: attack.zipped(("MODEL.PT", b"1")), "malformed-checkpoint", "case does not count",
    ),
    "a zip with slashes and backslashes": (
        lambda: attack.zipped(("a/b", b"1"), ("c\\d", b"2")), "malformed-checkpoint",
        "leads elsewhere",
    ),
    "a zip with one path written in two ways": (
        lambda: attack.zipped(("a\\b", b"1"), ("a\\B", b"2")), "malformed-checkpoint",
        "case does not count",
    ),
    "a zip whose backslashes lead out of it": (
        lambda: attack.zipped(("a\\..\\..\\b", b"1")), "malformed-checkpoint", "leads elsewhere",
    ),
    "a zip with a file for a folder": (
        lambda: attack.zipped(("a", b"1"), ("a/b", b"2")), "malformed-checkpoint", "twice",
    ),
    "a zip with a folder of bytes": (
        lambda: attack.zipped(("a/", b"1")), "malformed-checkpoint", "has bytes",
    ),
    "a zip with a folder of compressed bytes": (
        attack.zip_with_a_folder_of_compressed_bytes, "malformed-checkpoint", "has bytes",
    ),
    "a zip with a NUL in a name": (
        lambda: attack.zipped(("a?b", b"1")).replace(b"a?b", b"a\0b"),
        "malformed-checkpoint", "no file can have",
    ),
    "a zip with an encrypted member": (
        attack.zip_marked_as_encrypted, "malformed-checkpoint", "encrypted",
    ),
    "a zip with two names for a member": (
        attack.zip_with_two_names, "malformed-checkpoint", "another name",
    ),
    "a zip with one member in many places": (
        attack.zip_with_one_member_in_many_places, "malformed-checkpoint", "another name",
    ),
    "a zip with overlapping members": (
        attack.zip_with_overlapping_members, "malformed-checkpoint", "shares bytes",
    ),
    "a zip bomb": (attack.zip_bomb, "limit-exceeded", "max_unpacked_bytes"),
    "a zip that says less": (attack.zip_that_says_less, "malformed-checkpoint", "damaged"),
    "a zip of many files": (
        lambda: attack.zipped(*((f"{index}", b"") for index in range(10_000))),
        "limit-exceeded", "max_files",
    ),
    "a tar with a link": (
        lambda: attack.tarred(attack.entry("a", tarfile.SYMTYPE, linkname="/etc/passwd")),
        "malformed-checkpoint", "a link",
    ),
    "a tar with a hard link": (
        lambda: attack.tarred(attack.entry("a", tarfile.LNKTYPE, linkname="model.pt")),
        "malformed-checkpoint", "a link",
    ),
    "a tar with a device": (
        lambda: attack.tarred(attack.entry("a", tarfile.CHRTYPE, devmajor=1, devminor=3)),
        "malformed-checkpoint", "neither",
    ),
    "a tar with a pipe": (
        lambda: attack.tarred(attack.entry("a", tarfile.FIFOTYPE)),
        "malformed-checkpoint", "neither",
    ),
    "a tar with a member twice": (
        lambda: attack.tarred(attack.entry("a", size=1), attack.entry("./a", size=1)),
        "malformed-checkpoint", "twice",
    ),
    "a tar of many files": (
        lambda: attack.tarred(*(attack.entry(f"{index}") for index in range(10_000))),
        "limit-exceeded", "max_files",
    ),
    "a compressed tar bomb": (attack.tar_gz_bomb, "limit-exceeded", "max_unpacked_bytes"),
    "a tar of negative size": (attack.tar_of_negative_size, "malformed-checkpoint", ""),
    "a tar of any size": (attack.tar_of_any_size, "limit-exceeded", "max_unpacked_bytes"),
    "a tar with a large header": (
        attack.tar_with_large_header, "malformed-checkpoint", "header of any size",
    ),
    "a tar of headers": (attack.tar_of_headers, "malformed-checkpoint", "cannot be read"),
    "a tar with a negative size in its records": (
        attack.tar_with_negative_pax_size, "malformed-checkpoint", "",
    ),
    "a tar with a sparse file": (attack.sparse_tar, "malformed-checkpoint", "sparse"),
    "a tar of PyTorch 0.1": (attack.old_torch_tar, "not-a-checkpoint", "0.1"),
}  # fmt: skip


@pytest.mark.parametrize("case", ATTACKS)
def test_refused(case: str, tmp_path: Path) -> None:
    """By its code, in words that name the member; nothing is left, inside the folder or out."""
    build, code, words = ATTACKS[case]
    (tmp_path / "in").mkdir()
    source = tmp_path / "in" / "source.bin"
    source.write_bytes(build())
    verbs: list[Callable[[], object]] = [
        lambda: convlast.convert(source, tmp_path / "in" / "target", QUIET, limits=SMALL),
        lambda: convlast.inspect(source, limits=SMALL),
    ]
    for do in verbs:
        began_s = time.thread_time()
        with pytest.raises(ConvlastError) as refusal:
            do()
        assert refusal.value.code == code, refusal.value
        assert words in str(refusal.value)
        assert len(str(refusal.value)) < 1000
        assert time.thread_time() - began_s < 5
    assert list(tmp_path.iterdir()) == [tmp_path / "in"]
    assert list((tmp_path / "in").iterdir()) == [source]
