"""Files that were cut short, or changed by a byte: refused, or converted to what torch loads."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import convlast
from convlast.errors import ConvlastError
from convlast.options import Options
from tests.exactness import Loaded, restrided
from tests.hostile import breaks_the_safetensors_header, parts

QUIET = Options(smoke="none")

SOUND: dict[str, Callable[[], bytes]] = {
    "zip": parts.sound_small,
    "legacy": parts.sound_legacy,
    "safetensors": breaks_the_safetensors_header.sound,
}


def outcome(data: bytes, folder: Path) -> str:
    """Convert, and return the code of the refusal, or `converted`; nothing else may happen."""
    source, target = folder / "source", folder / "target"
    source.write_bytes(data)
    target.unlink(missing_ok=True)
    try:
        report = convlast.convert(source, target, QUIET)
    except ConvlastError as refusal:
        code = refusal.code
    else:
        code, proof = "converted", report.proof
        assert proof is not None
        assert (proof.values, proof.structure) == ("identical", "identical")
    assert source.read_bytes() == data
    assert target.exists() == (code == "converted")
    assert {path.name for path in folder.iterdir()} <= {"source", "target"}
    return code


@pytest.mark.parametrize("container", SOUND)
def test_the_sound_file_is_converted(container: str, tmp_path: Path) -> None:
    """What is damaged below is a good file to begin with."""
    assert outcome(SOUND[container](), tmp_path) == "converted"


@pytest.mark.parametrize("container", SOUND)
def test_cut_short_at_every_byte(container: str, tmp_path: Path) -> None:
    """Wherever a file ends too early, it is no checkpoint, or a broken one."""
    data = SOUND[container]()
    codes = {outcome(data[:end], tmp_path) for end in range(len(data))}
    assert codes == {"not-a-checkpoint", "malformed-checkpoint"}


@pytest.mark.parametrize("container", SOUND)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_one_byte_changed(
    container: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A changed byte is refused, or converted to exactly what torch itself makes of the file."""
    folder = tmp_path_factory.mktemp("damage")
    sound = SOUND[container]()
    damaged = bytearray(sound)
    damaged[data.draw(st.integers(0, len(sound) - 1))] ^= data.draw(st.integers(1, 255))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if outcome(bytes(damaged), folder) == "converted" and container != "safetensors":
            before = folder / "source"
            assert_loads_alike(before, folder / "target")


def assert_loads_alike(before: Path, after: Path) -> None:
    """Check an artifact against the input, where its keys are still such."""
    assert Loaded(after).root.keys() == Loaded(before).root.keys()
    assert restrided(before, after).keys() <= {(key,) for key in Loaded(before).root}


HEADS: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "empty"),
    "text": (b"hello, world\n" * 50, "no format known"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(64), "HDF5"),
    "NumPy": (b"\x93NUMPY\x01\x00" + bytes(64), "NumPy"),
    "gzip": (b"\x1f\x8b\x08" + bytes(64), "gzip"),
    "a Git LFS pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git lfs pull",
    ),
    "HTML": (b"<!DOCTYPE html><html>Not Found</html>", "HTML"),
    "JSON": (b'{"error": "not found"}', "JSON"),
    "Lua Torch": (b"\x04\x00\x00\x00\x01\x00\x00\x00" + bytes(64), "Lua Torch"),
    "another pickle": (b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00}.", "pickle"),
    "ONNX": (b"\x08\x07\x12\x07pytorch" + bytes(64), "ONNX"),
    "a single byte": (b"\x00", "no format known"),
    "an empty zip": (b"PK\x05\x06" + bytes(18), "an empty zip"),
}  # fmt: skip


@pytest.mark.parametrize("kind", HEADS)
def test_another_kind_of_file(kind: str, tmp_path: Path) -> None:
    """The message says what it probably is, and what to send."""
    data, words = HEADS[kind]
    source = tmp_path / "model.pt"
    source.write_bytes(data)
    with pytest.raises(ConvlastError) as refusal:
        convlast.convert(source, tmp_path / "out.pt", QUIET)
    assert refusal.value.code == "not-a-checkpoint"
    assert words in str(refusal.value)
    assert refusal.value.remedy
    assert list(tmp_path.iterdir()) == [source]


def test_no_file_at_all(tmp_path: Path) -> None:
    """A file that is not there is named as it was given, with its folder."""
    source = tmp_path / "missing.pt"
    with pytest.raises(ConvlastError, match=re.escape(repr(str(source)))) as refusal:
        convlast.convert(source, tmp_path / "out.pt")
    assert refusal.value.code == "not-a-checkpoint"


def test_a_folder(tmp_path: Path) -> None:
    """A folder is no checkpoint either."""
    with pytest.raises(ConvlastError) as refusal:
        convlast.inspect(tmp_path)
    assert refusal.value.code == "not-a-checkpoint"


def test_a_checkpoint_without_crcs_is_sound(tmp_path: Path) -> None:
    """`set_crc32_options(False)` leaves CRCs out; such a file is converted like any other."""
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        data = parts.sound()
    finally:
        torch.serialization.set_crc32_options(before)
    assert outcome(data, tmp_path) == "converted"
