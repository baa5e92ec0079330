"""What an artifact is called, and what kind of file it is."""

from __future__ import annotations

from pathlib import PurePath

from convlast.errors import OptionError
from convlast.options import Options

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
    """
    path = PurePath(filename)
    extension = path.suffix or ".pt"
    if target_container(options, container) == "safetensors":
        extension = ".safetensors"
    elif extension == ".safetensors" or container == "safetensors":
        extension = ".pt"  # torch.load takes any file called .safetensors for one
    stem = path.stem
    for memory_format in _FORMATS:
        stem = stem.removesuffix(memory_format)
    return f"{stem}.{options.memory_format}{extension}"
