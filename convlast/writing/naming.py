"""What an artifact is called, and what kind of file it is."""

from __future__ import annotations

from pathlib import PurePath

from convlast.errors import OptionError
from convlast.options import Options

_OF_FOLDERS = {"folder": "", "zip-folder": ".zip", "tar-folder": ".tar", "sharded": ""}
"""The extensions of model folders, by their kinds."""

_PACKED = (".zip", ".tar.gz", ".tgz", ".tar")
_INDEX = (".index.json", ".safetensors", ".bin")
_FORMATS = (".channels_last_3d", ".contiguous_format")


def target_container(options: Options, container: str) -> str:
    """Return the kind of file to write for an input of this kind.

    Raises:
        OptionError: If a program is to become something else.

    >>> target_container(Options(), "torch-legacy"), target_container(Options(), "torchscript")
    ('torch', 'torchscript')
    """
    if container in {"torchscript", "program"}:
        if options.container != "auto" or options.dtype != "keep":
            option = "container" if options.container != "auto" else "dtype"
            raise OptionError(
                option,
                "A program stays what it is: its code says which dtypes it computes in.",
                remedy="Leave it out, or convert the state dict that the program was made from.",
            )
        return container
    return "torch" if options.container == "auto" else options.container


def artifact_filename(filename: str, options: Options, container: str) -> str:
    """Return `<stem>.<memory_format>.<ext>`.

    Args:
        filename: What the input is called.
        options: What was asked for.
        container: What kind of file the input is.

    >>> artifact_filename("model.pth", Options(), "torch")
    'model.channels_last_3d.pth'
    >>> artifact_filename("vae.safetensors", Options(), "safetensors")
    'vae.channels_last_3d.pt'
    >>> artifact_filename("bundle.tar.gz", Options(), "tar-folder")
    'bundle.channels_last_3d.tar'
    """
    if container in _OF_FOLDERS:
        return _folder_name(filename, options, container)
    path = PurePath(filename)
    extension = path.suffix or ".pt"
    if target_container(options, container) == "safetensors":
        extension = ".safetensors"
    elif extension == ".safetensors" or container == "safetensors":
        extension = ".pt"  # torch.load takes any file called .safetensors for one
    return f"{_bare(path.stem)}.{options.memory_format}{extension}"


def _folder_name(filename: str, options: Options, container: str) -> str:
    """Return `<name>.<memory_format>` for a folder, and with an extension for an archive."""
    endings = {"folder": (), "sharded": _INDEX}.get(container, _PACKED)
    name = filename
    for ending in endings:
        if name.lower().endswith(ending):
            name = name[: -len(ending)]
    return f"{_bare(name)}.{options.memory_format}{_OF_FOLDERS[container]}"


def _bare(stem: str) -> str:
    """Return a name without the layout that an earlier conversion put behind it."""
    for memory_format in _FORMATS:
        stem = stem.removesuffix(memory_format)
    return stem
