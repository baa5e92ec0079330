"""What fuzzing has found, and what came to light while the fuzzer was written."""

from __future__ import annotations

import math
import resource
import struct
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import convlast
from convlast.errors import ConvlastError, UnsafeCheckpointError
from convlast.options import Options
from tests.hostile import lies_about_sizes
from tests.hostile.parts import (
    PROTOCOL,
    STOP,
    number,
    numbers,
    sound,
    storage,
    tensor,
    text,
    torch_zip,
)

QUIET = Options(smoke="none")
WEIGHT = text("conv.weight") + tensor()
NONE = b"N"
NAN = b"G" + struct.pack(">d", math.nan)


def checkpoint(*pairs: bytes) -> bytes:
    """Return a checkpoint of a weight, and of these keys and values."""
    return torch_zip(PROTOCOL + b"}(" + WEIGHT + b"".join(pairs) + b"u" + STOP)


def tensor_with_hooks(hooks: bytes) -> bytes:
    """Return the opcodes that push a tensor with these backward hooks."""
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage() + number(0)
        + numbers(2, 3) + numbers(3, 1) + b"\x89" + hooks + b"tR"
    )  # fmt: skip


def tuple_bomb(levels: int = 40) -> bytes:
    """Return the opcodes that push a tuple of two that are one, of two that are one ..."""
    doubled = (b"q" + bytes([n]) + b"h" + bytes([n]) + b"\x86" for n in range(levels))
    return text("x") + b"".join(doubled)


def called_with(name: str, *arguments: bytes) -> bytes:
    """Return the opcodes that call something."""
    return f"c{name}\n".encode() + b"(" + b"".join(arguments) + b"tR"


def numbers_of_one_hash(count: int = 15_000) -> bytes:
    """Return a dict whose keys Python compares each with all before it."""
    return checkpoint(*(number(index * ((1 << 61) - 1)) + NONE for index in range(2, count)))


FOUND: dict[str, tuple[Callable[[], bytes], str, str]] = {
    "hooks that are no dict": (
        lambda: checkpoint(text("x") + tensor_with_hooks(b"\x88")), "malformed-checkpoint", "hooks",
    ),
    "hooks that are a tensor": (
        lambda: checkpoint(text("x") + tensor_with_hooks(tensor())),
        "malformed-checkpoint", "hooks",
    ),
    "a hook": (
        lambda: checkpoint(text("x") + tensor_with_hooks(b"}K\x00K\x00s")),
        "malformed-checkpoint", "hooks",
    ),
    "a tensor for a key": (
        lambda: checkpoint(tensor() + NONE), "unsupported-container", "as a dict key",
    ),
    "a tensor in a key": (
        lambda: checkpoint(tensor() + b"\x85" + NONE), "unsupported-container", "as a dict key",
    ),
    "a tensor in a set": (
        lambda: checkpoint(text("x") + called_with("builtins\nset", b"]" + tensor() + b"a")),
        "unsupported-container", "set",
    ),
    "NaN for a key": (
        lambda: checkpoint(NAN + NONE), "unsupported-container", "NaN as a dict key",
    ),
    "NaN in a key": (
        lambda: checkpoint(NAN + b"\x85" + NONE), "unsupported-container", "NaN as a dict key",
    ),
    "NaN in a set": (
        lambda: checkpoint(text("x") + called_with("builtins\nset", b"]" + NAN + b"a")),
        "unsupported-container", "in a set",
    ),
    "a class of storages": (
        lambda: checkpoint(text("x") + b"ctorch\nFloatStorage\n"),
        "unsupported-container", "torch.load",
    ),
    "a tuple bomb for a key": (
        lambda: checkpoint(tuple_bomb() + NONE), "malformed-checkpoint", "keys",
    ),
    "a tuple bomb in a set": (
        lambda: checkpoint(text("x") + called_with("builtins\nset", b"]" + tuple_bomb() + b"a")),
        "malformed-checkpoint", "keys",
    ),
    "a tuple bomb that is counted": (
        lambda: checkpoint(text("x") + called_with("collections\nCounter", tuple_bomb())),
        "unsafe-checkpoint", "collections.Counter",
    ),
    "a tuple bomb for an ordered key": (
        lambda: checkpoint(
            text("x")
            + called_with("collections\nOrderedDict", b"](](" + tuple_bomb() + NONE + b"ee")
        ),
        "malformed-checkpoint", "keys",
    ),
    "a tuple bomb in a set, made by torch": (
        lambda: checkpoint(
            text("x")
            + called_with(
                "torch._tensor\n_rebuild_from_type_v2",
                b"cbuiltins\nset\n", b"ctorch\nTensor\n", b"]" + tuple_bomb() + b"a\x85", b"}",
            )
        ),
        "unsafe-checkpoint", "_rebuild_from_type_v2",
    ),
    "deep tuples for a key": (
        lambda: checkpoint(text("x") + b"\x85" * 100_000 + NONE), "malformed-checkpoint", "keys",
    ),
    "numbers of one hash": (numbers_of_one_hash, "malformed-checkpoint", "keys"),
    "a number among the names of storages": (
        lies_about_sizes.legacy_with_a_number_for_a_key, "malformed-checkpoint", "BININT1",
    ),
}  # fmt: skip


@pytest.mark.parametrize("finding", FOUND)
def test_refused_at_once(finding: str, tmp_path: Path) -> None:
    """It is refused with a code, where it ended in another error or took for ever."""
    build, code, words = FOUND[finding]
    source = tmp_path / "source.pt"
    source.write_bytes(build())
    began_s = time.process_time()
    with pytest.raises(ConvlastError) as refusal:
        convlast.convert(source, tmp_path / "target.pt", QUIET)
    assert time.process_time() - began_s < 5
    assert refusal.value.code == code, refusal.value
    assert words in str(refusal.value)
    assert list(tmp_path.iterdir()) == [source]


def test_a_million_names_make_a_short_message(tmp_path: Path) -> None:
    """The error has all the names, and its text the first of them."""
    source = tmp_path / "source.pt"
    names = [text(str(index)) + f"cos\nname_{index}\n".encode() for index in range(10_000)]
    source.write_bytes(checkpoint(*names))
    with pytest.raises(UnsafeCheckpointError, match="and 9990 more") as refusal:
        convlast.convert(source, tmp_path / "target.pt", QUIET)
    assert len(refusal.value.names) == 10_000
    assert len(str(refusal.value)) < 1000


@pytest.mark.parametrize(
    "manifest",
    [
        b'{"x": [' + b"[]," * 700_000 + b"[]]}",
        b'{"memory_format": "channels_last_3d", "layers": [' + b"{}," * 500_000 + b"{}]}",
    ],
)
def test_a_manifest_that_takes_memory_to_read(manifest: bytes, tmp_path: Path) -> None:
    """A note of a few megabytes, which took gigabytes to judge, is none."""
    source, target = tmp_path / "source.pt", tmp_path / "target.pt"
    source.write_bytes(torch_zip(PROTOCOL + b"}(" + WEIGHT + b"u" + STOP))
    with zipfile.ZipFile(source, "a") as archive:
        archive.writestr("archive/extra/convlast.json", manifest)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert convlast.convert(source, target, QUIET).verdict != "failed"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 << 10  # KiB


@pytest.mark.parametrize("name", ["archive/../evil", "/evil", "archive/..\\evil", "../archive/x"])
def test_a_name_that_leads_elsewhere(name: str, tmp_path: Path) -> None:
    """A member that would be unpacked outside its folder is not carried into an artifact."""
    source = tmp_path / "source.pt"
    source.write_bytes(sound())
    with zipfile.ZipFile(source, "a") as archive:
        archive.writestr(zipfile.ZipInfo(name), b"evil")
    with pytest.raises(ConvlastError, match="elsewhere") as refusal:
        convlast.convert(source, tmp_path / "target.pt", QUIET)
    assert refusal.value.code == "malformed-checkpoint"


def test_a_root_that_leads_elsewhere(tmp_path: Path) -> None:
    """Nor is a root folder that does so."""
    source = tmp_path / "source.pt"
    with zipfile.ZipFile(source, "w") as archive:
        archive.writestr("../data.pkl", PROTOCOL + b"}" + STOP)
    with pytest.raises(ConvlastError, match="elsewhere"):
        convlast.convert(source, tmp_path / "target.pt", QUIET)


def test_keys_of_other_kinds_are_kept(tmp_path: Path) -> None:
    """Numbers, short tuples, dtypes and None are keys like any other."""
    source, target = tmp_path / "source.pt", tmp_path / "target.pt"
    weight = torch.ones(1, 2, 1, 1, 1)
    keys = {1: "a", -1.5: "b", None: "c", (0, ("x", 1)): "d", torch.float32: "e"}
    torch.save({"conv.weight": weight, "others": keys, "seen": {"x", 3, (1, 2)}}, source)
    assert convlast.convert(source, target, QUIET).verdict != "failed"
    loaded = convlast.load(target)
    assert loaded["others"] == keys
    assert loaded["seen"] == {"x", 3, (1, 2)}
