"""What kind of file an artifact is, and what it is called for that."""

from __future__ import annotations

from pathlib import Path, PurePath

from convlast.containers.container import WritableContainer
from convlast.containers.kinds import CONTAINERS
from convlast.containers.torch_zip import TorchZip
from convlast.errors import OptionError
from convlast.options import Options
from convlast.writing.naming import OF_FOLDERS, converted_folder_name, converted_name


def target_container(options: Options, name: str, *, keeps_kind: bool = False) -> WritableContainer:
    """Return the kind of file to write for an input.

    Args:
        options: What was asked for.
        name: The name of the input's container.
        keeps_kind: Whether the artifact stays of its kind if it can, strides or not.

    Raises:
        OptionError: If a program is to become something else.

    >>> target_container(Options(), "torch-legacy").name
    'torch'
    >>> target_container(Options(), "torchscript").name
    'torchscript'
    """
    source = CONTAINERS[name]
    if source.holds_code and (options.container != "auto" or options.dtype != "keep"):
        raise OptionError(
            "container" if options.container != "auto" else "dtype",
            "A program stays what it is: its code says which dtypes it computes in.",
            remedy="Leave it out, or convert the state dict that the program was made from.",
        )
    if options.container != "auto":
        source = CONTAINERS[options.container]
    elif not (source.holds_strides or keeps_kind):
        source = CONTAINERS["torch"]
    return source if isinstance(source, WritableContainer) else TorchZip()


def refuse_misleading_name(target: Path, container: WritableContainer) -> None:
    """Refuse a name by which PyTorch would take the artifact for another kind of file.

    Raises:
        OptionError: If a torch file would be called `.safetensors`.
    """
    others = set(_own_extensions().values()) - {container.extension}
    if target.suffix in others and not container.holds_code:
        raise OptionError(
            "target",
            f"torch.load takes a file called {target.name!r} for a {target.suffix[1:]} file.",
            remedy=f"Call it {container.extension}, or use container={target.suffix[1:]}.",
        )


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
    if container in OF_FOLDERS:
        return converted_folder_name(filename, options.memory_format, container)
    target, own = target_container(options, container), _own_extensions()
    extension = PurePath(filename).suffix or target.extension
    if own.keys() & {container, target.name} or extension in own.values():
        extension = target.extension
    return converted_name(filename, options.memory_format, extension)


def artifact_place(target: Path, filename: str, options: Options, container: str) -> Path:
    """Return where an artifact goes: the target, or under its own name into a folder.

    What a model folder or an index becomes is a folder itself, so the target is that folder.

    Args:
        target: The file to write, or a folder.
        filename: What the input is called.
        options: What was asked for.
        container: What kind of file the input is.
    """
    if becomes_a_folder(container) or not target.is_dir():
        return target
    return target / artifact_filename(filename, options, container)


def becomes_a_folder(container: str) -> bool:
    """Return whether the artifact of an input of this kind is a folder, and not one file.

    >>> becomes_a_folder("sharded"), becomes_a_folder("zip-folder"), becomes_a_folder("torch")
    (True, False, False)
    """
    return OF_FOLDERS.get(container) == ""


def _own_extensions() -> dict[str, str]:
    """Return the extensions by which loaders recognise a kind of file, by the kind's name."""
    return {
        name: each.extension
        for name, each in CONTAINERS.items()
        if isinstance(each, WritableContainer) and each.needs_extension
    }
