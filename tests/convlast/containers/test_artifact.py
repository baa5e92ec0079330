from __future__ import annotations

import hashlib
import zipfile
import zlib
from pathlib import Path

import pytest
import torch

import convlast
from convlast.errors import MalformedCheckpointError
from convlast.options import Options
from convlast.writing import safetensors
from convlast.writing.copying import crc_of
from tests import builders

WAYS = {
    "channels-last": {},
    "fp16": {"dtype": "float16"},
    "safetensors": {"container": "safetensors"},
    "unchanged": {"memory_format": "contiguous_format"},
}
"""How an artifact is made: by each writer, and as a copy."""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save a checkpoint of so many bytes that its artifact is read while it is written."""
    # 1.8 MB each: in fp16 as well, there are several times what a reader waits for.
    tensors = {f"{index}.weight": torch.randn(128, 128, 3, 3, 3) for index in range(16)}
    tensors |= {f"{index}.bias": torch.randn(128) for index in range(16)}
    tensors["table"] = torch.randn(1 << 20)
    return builders.save(tensors, tmp_path_factory.mktemp("source") / "model.pt")


def converted(source: Path, way: str, folder: Path) -> convlast.Report:
    """Convert in one of the ways, to `target` in a folder."""
    extension = ".safetensors" if way == "safetensors" else ".pt"
    options = Options.parse(smoke="none", **WAYS[way])
    return convlast.convert(source, folder / f"target{extension}", options, device="cpu")


@pytest.mark.parametrize("way", WAYS)
def test_the_digests_are_those_of_the_file(source: Path, way: str, tmp_path: Path) -> None:
    """However it was made, and though it is read while it is written."""
    report = converted(source, way, tmp_path)
    (target,) = tmp_path.iterdir()
    content = target.read_bytes()
    assert report.artifact is not None
    assert report.artifact.sha256 == hashlib.sha256(content).hexdigest()
    assert report.artifact.crc32 == zlib.crc32(content)
    if target.suffix == ".pt":
        with zipfile.ZipFile(target) as archive:
            assert archive.testzip() is None


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["0.weight", "3.bias", "table"])
def test_damaged_data_is_refused(source: Path, way: str, name: str, tmp_path: Path) -> None:
    """By every writer, whether the data is converted, copied or cast, and nothing is left."""
    content = bytearray(source.read_bytes())
    tensors = torch.load(source, weights_only=True)
    needle = tensors[name].numpy().tobytes()[:64]
    content[content.index(needle) + 17] ^= 1
    damaged = tmp_path / "damaged.pt"
    damaged.write_bytes(content)
    folder = tmp_path / "made"
    folder.mkdir()
    with pytest.raises(MalformedCheckpointError, match="damaged: its CRC"):
        converted(damaged, way, folder)
    assert not list(folder.iterdir())


def test_a_storage_is_read_once_for_all_that_share_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tensors without elements may be many, and cost nothing of what they are views of."""
    read: list[int] = []

    def counting(descriptor: int, offset: int, nbytes: int) -> int:
        read.append(offset)
        return crc_of(descriptor, offset, nbytes)

    monkeypatch.setattr(safetensors, "crc_of", counting)
    table = torch.randn(1000)
    tensors = {"conv.weight": torch.randn(4, 4, 3, 3, 3), "table": table}
    tensors |= {f"empty.{index}": table[:0] for index in range(20)}
    converted(builders.save(tensors, tmp_path / "model.pt"), "safetensors", tmp_path)
    assert len(read) == len(set(read)) == 2
