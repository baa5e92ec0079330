"""The layout of a converted checkpoint, given to a model that was loaded by others."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import torch
from torch import nn

from convlast.checkpoints.manifest import LayerLayout, Manifest
from convlast.containers import read_manifest
from convlast.errors import ArchitectureMismatchError, MalformedCheckpointError
from convlast.folders.shards import groups_in, parts_of
from convlast.layout.memory_format import laid_out


def apply_layout(module: nn.Module, manifest: Manifest | str | os.PathLike[str]) -> nn.Module:
    """Give a loaded model the layout that a manifest notes; values stay.

    For frameworks that load by themselves, and so lose the layout: load as ever, then apply it.
    Keys that differ from the model's by one prefix, such as `module.`, are taken for the same.

    Args:
        module: The model, with its weights, on any device.
        manifest: The note of a conversion; or the converted file that carries it, the index of
            converted shards, or the converted folder that the model was loaded from.

    Returns:
        The same module.

    Raises:
        ArchitectureMismatchError: If a layer is not in the model, or has another shape.
        MalformedCheckpointError: If no file carries a manifest, or several do and disagree.
    """
    if not isinstance(manifest, Manifest):
        manifest = manifest_of(Path(manifest))
    tensors = dict(module.named_parameters(remove_duplicate=False))
    names = _names_of(manifest.layers, tensors)
    wrong = [
        f"{layer.key}: {'not there' if names[layer.key] not in tensors else 'another shape'}"
        for layer in manifest.layers
        if not _fits(layer, tensors.get(names[layer.key]))
    ]
    if wrong:
        raise ArchitectureMismatchError(
            f"The layout does not fit the model at {'; '.join(wrong[:10])}.",
            remedy="Apply it to the model that the checkpoint belongs to.",
        )
    for layer in manifest.layers:
        tensor = tensors[names[layer.key]]
        stride = manifest.stride_after(layer.key, layer.shape)
        if stride is not None and tensor.stride() != stride:
            tensor.data = laid_out(tensor, stride)
    return module


def manifest_of(path: Path) -> Manifest:
    """Return what was noted of the conversion of a file, of shards, or of a folder's checkpoints.

    Raises:
        MalformedCheckpointError: If there is no note, or there are several that disagree.
    """
    groups = groups_in(path) if path.is_dir() else [parts_of(path)]
    found = {file: note for group in groups for file in group if (note := read_manifest(file))}
    if not found:
        raise MalformedCheckpointError(
            f"{path.name!r} carries no manifest.", remedy="Convert it with convlast first."
        )
    layers: dict[str, LayerLayout] = {}
    for file, note in found.items():
        for layer in note.layers:
            known = layers.setdefault(layer.key, layer)
            if (known.shape, known.stride_after) != (layer.shape, layer.stride_after):
                raise MalformedCheckpointError(
                    f"The checkpoints in {path.name!r} disagree on {layer.key}, {file.name!r} "
                    "among them.",
                    remedy="Name the file that the model was loaded from.",
                )
    note = next(iter(found.values()))
    return Manifest(
        convlast=note.convlast, memory_format=note.memory_format, layers=tuple(layers.values())
    )


def _names_of(layers: Iterable[LayerLayout], tensors: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """Return the model's name for each key, by one prefix that is added or taken away for all."""
    layers = list(layers)
    plain = {layer.key: layer.key for layer in layers}
    for names in (plain, *_renamings(layers, tensors)):
        if all(_fits(layer, tensors.get(names[layer.key])) for layer in layers):
            return names
    return plain


def _renamings(
    layers: list[LayerLayout], tensors: Mapping[str, torch.Tensor]
) -> Iterator[dict[str, str]]:
    """Yield ways to name all layers that give the first of them a name of the model."""
    for name in tensors if layers else ():
        first = layers[0].key
        if name.endswith(f".{first}"):
            added = name.removesuffix(first)
            yield {layer.key: added + layer.key for layer in layers}
        elif first.endswith(f".{name}"):
            taken = first.removesuffix(name)
            yield {layer.key: layer.key.removeprefix(taken) for layer in layers}


def _fits(layer: LayerLayout, tensor: torch.Tensor | None) -> bool:
    return tensor is not None and tuple(tensor.shape) == layer.shape
