"""What an artifact is called: like its input, with the layout behind the stem."""

from __future__ import annotations

from pathlib import PurePath

OF_FOLDERS = {"folder": "", "zip-folder": ".zip", "tar-folder": ".tar", "sharded": ""}
"""The extensions of converted model folders, by their kinds."""

_PACKED = (".zip", ".tar.gz", ".tgz", ".tar")
_INDEX = (".index.json", ".safetensors", ".bin")
_FORMATS = (".channels_last_3d", ".contiguous_format")


def converted_name(filename: str, memory_format: str, extension: str) -> str:
    """Return `<stem>.<memory_format><extension>`.

    >>> converted_name("model.channels_last_3d.pth", "contiguous_format", ".pt")
    'model.contiguous_format.pt'
    """
    return f"{_bare(PurePath(filename).stem)}.{memory_format}{extension}"


def converted_folder_name(filename: str, memory_format: str, kind: str) -> str:
    """Return `<name>.<memory_format>` for a folder, and with an extension for an archive.

    >>> converted_folder_name("bundle.tar.gz", "channels_last_3d", "tar-folder")
    'bundle.channels_last_3d.tar'
    """
    endings = {"folder": (), "sharded": _INDEX}.get(kind, _PACKED)
    name = filename
    for ending in endings:
        if name.lower().endswith(ending):
            name = name[: -len(ending)]
    return f"{_bare(name)}.{memory_format}{OF_FOLDERS[kind]}"


def _bare(stem: str) -> str:
    """Return a name without the layout that an earlier conversion put behind it."""
    for memory_format in _FORMATS:
        stem = stem.removesuffix(memory_format)
    return stem
