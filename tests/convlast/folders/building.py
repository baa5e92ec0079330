"""Small model folders, and archives of them as people make them."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from tests import builders

FIRST, SECOND = "m-00001-of-00002", "m-00002-of-00002"


def weights(start: int = 0) -> dict[str, Tensor]:
    """Return the state dict of two convolutions."""
    return {
        "0.weight": builders.numbered(*builders.SHAPE, start=start),
        "0.bias": builders.numbered(4),
        "1.weight": builders.numbered(4, 4, 3, 3, 3, start=start + 7),
        "1.bias": builders.numbered(4),
    }


def network() -> nn.Sequential:
    """Return a model that has these weights."""
    return nn.Sequential(nn.Conv3d(3, 4, 3), nn.Conv3d(4, 4, 3))


def sharded(folder: Path, *, extension: str = ".safetensors", split_bias: bool = False) -> Path:
    """Write an index and two shards; `split_bias` puts a bias in another shard than its weight."""
    folder.mkdir(parents=True, exist_ok=True)
    named = weights()
    second = {"1.weight", "1.bias"} ^ ({"0.bias", "1.bias"} if split_bias else set())
    parts = {
        f"{FIRST}{extension}": {k: v for k, v in named.items() if k not in second},
        f"{SECOND}{extension}": {k: v for k, v in named.items() if k in second},
    }
    save = builders.save_safetensors if extension == ".safetensors" else builders.save
    for name, tensors in parts.items():
        save(tensors, folder / name)
    places = {key: name for name, tensors in parts.items() for key in tensors}
    total = sum(tensor.nbytes for tensor in named.values())
    index = folder / f"m{extension}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": total}, "weight_map": places}))
    return index


def model_folder(folder: Path) -> Path:
    """Write a model repository with every kind of file that is converted."""
    (folder / "vae").mkdir(parents=True)
    (folder / "empty").mkdir()
    sharded(folder / "vae")
    builders.save({"net": weights(1)}, folder / "checkpoint_final.pth")
    builders.save_legacy(weights(2), folder / "old.pth")
    builders.save_safetensors({"x": torch.ones(3)}, folder / "text.safetensors")
    (folder / "config.json").write_text('{"name": "é"}')
    (folder / "plans.pkl").write_bytes(b"\x80\x04N.")
    (folder / "vae" / "progress.png").write_bytes(b"\x89PNG" + bytes(5000))
    return folder


def packed_zip(folder: Path) -> Path:
    """Pack a folder as `zip -r` does, compressed."""
    return Path(shutil.make_archive(str(folder), "zip", folder))


def packed_tar(folder: Path) -> Path:
    """Pack a folder as `tar -C folder .` does: each name begins with `./`."""
    path = folder.with_suffix(".tar")
    with tarfile.open(path, "w") as archive:
        archive.add(folder, ".")
    return path


def packed_tar_gz(folder: Path) -> Path:
    """Pack a folder below its own name, compressed by gzip."""
    path = folder.with_suffix(".tar.gz")
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, folder.name)
    return path


PACKED: dict[str, Callable[[Path], Path]] = {
    "zip": packed_zip,
    "tar": packed_tar,
    "tar.gz": packed_tar_gz,
}


def unpacked(archive: Path, folder: Path) -> Path:
    """Unpack with the standard library; return the folder that has the model's files."""
    shutil.unpack_archive(archive, folder, filter=None if archive.suffix == ".zip" else "data")
    inner = list(folder.iterdir())
    return inner[0] if len(inner) == 1 else folder


def files_in(folder: Path) -> dict[str, bytes]:
    """Return all files below a folder, by their paths."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
