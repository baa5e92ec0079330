"""The layouts that conversions noted, by the state dict that each belongs to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from convlast.checkpoints.manifest import LayerLayout, Manifest
from convlast.containers import read_manifest
from convlast.errors import CheckpointError, MalformedCheckpointError
from convlast.folders.shards import groups_below, parts_of
from convlast.loading.fitting import StateDict


@dataclass(frozen=True)
class Layout:
    """The layout of the layers of one state dict.

    Attributes:
        about: Its place, and the shapes of the layers.
        strides: The strides of each layer, if they fit its shape.
    """

    about: StateDict
    strides: Mapping[str, tuple[int, ...]]


def layouts_in(path: Path) -> list[Layout]:
    """Return the layouts in a file, in shards, or in all files in a folder and below it.

    Raises:
        MalformedCheckpointError: If no file carries a manifest.
    """
    if path.is_dir():
        noted = [(group[0], list(_readable(group))) for group in groups_below(path)]
    else:
        parts = parts_of(path)
        noted = [(parts[0], [note for part in parts if (note := read_manifest(part))])]
    noted = [(first, notes) for first, notes in noted if notes]
    if not noted:
        raise MalformedCheckpointError(
            f"{path.name!r} carries no manifest.", remedy="Convert it with convlast first."
        )
    if len(noted) == 1:
        return layouts_of(noted[0][1])
    return [
        layout
        for first, notes in noted
        for layout in layouts_of(notes, first.relative_to(path).as_posix())
    ]


def layouts_of(manifests: Iterable[Manifest], file: str = "") -> list[Layout]:
    """Return the layout of each state dict in a file.

    Args:
        manifests: That of the file, or of each shard.
        file: The file's name, if there are several.
    """
    found: dict[str, dict[str, LayerLayout]] = {}
    for manifest in manifests:
        for layer in manifest.layers:
            found.setdefault(_path_of(layer), {}).setdefault(layer.key, layer)
    return [
        Layout(
            StateDict(path, {key: layer.shape for key, layer in layers.items()}, file),
            _strides_of(layers.values()),
        )
        for path, layers in found.items()
    ]


def _readable(files: Iterable[Path]) -> Iterator[Manifest]:
    """Yield the manifests of the files that can be opened."""
    for file in files:
        try:
            note = read_manifest(file)
        except CheckpointError:
            continue
        if note is not None:
            yield note


def _path_of(layer: LayerLayout) -> str:
    """Return the path of a layer's state dict; empty if only one in the file has layers.

    The name is then the key alone. A name that several layers would have ends in `#` and a number.
    """
    name = layer.name if layer.name.endswith(layer.key) else layer.name.rpartition("#")[0]
    return name.removesuffix(layer.key).removesuffix(".")


def _strides_of(layers: Iterable[LayerLayout]) -> dict[str, tuple[int, ...]]:
    layers = tuple(layers)
    manifest = Manifest(memory_format="channels_last_3d", layers=layers)
    strides = {layer.key: manifest.stride_after(layer.key, layer.shape) for layer in layers}
    return {key: stride for key, stride in strides.items() if stride is not None}
