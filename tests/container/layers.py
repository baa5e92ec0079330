"""The layers of an image, as a registry tells them apart."""

from __future__ import annotations

import json
import subprocess
import tarfile
import zlib
from pathlib import PurePath
from typing import IO

from tests.container.engine import Engine

_CHUNK_BYTES = 1 << 20


def digests(engine: Engine, image: str) -> list[str]:
    """Return the digests of the layers' content, the base's first."""
    (known,) = json.loads(engine.docker("image", "inspect", image))
    return list(known["RootFS"]["Layers"])


def shipped_bytes(engine: Engine, image: str, present: list[str]) -> int:
    """Return how many bytes a push sends to a registry that has some layers.

    Args:
        engine: The engine that has the image.
        image: Its name.
        present: The digests of the layers that the registry has.
    """
    sizes: dict[str, int] = {}
    order: list[str] = []
    command = ["docker", "save", image]
    with subprocess.Popen(command, env=dict(engine.environment), stdout=subprocess.PIPE) as saving:
        assert saving.stdout is not None
        with tarfile.open(fileobj=saving.stdout, mode="r|") as archive:
            for member in archive:
                content = archive.extractfile(member) if member.isfile() else None
                if member.name == "manifest.json" and content:
                    order = json.load(content)[0]["Layers"]
                elif content and member.size < 64 * _CHUNK_BYTES:  # larger ones are packages
                    sizes[member.name] = _compressed_bytes(content)
        while saving.stdout.read(_CHUNK_BYTES):
            pass  # the archive ends in padding
    assert saving.returncode == 0
    names = [str(PurePath(each)) for each in order]
    pairs = zip(digests(engine, image), names, strict=True)
    return sum(sizes[name] for digest, name in pairs if digest not in present)


def _compressed_bytes(content: IO[bytes]) -> int:
    """Return the size after gzip, as a push compresses a layer."""
    compressor, size = zlib.compressobj(), 0
    while chunk := content.read(_CHUNK_BYTES):
        size += len(compressor.compress(chunk))
    return size + len(compressor.flush())
