"""A converted checkpoint into memory, or into a model, with its layout."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import nn

from convlast.checkpoints.guard.allowing import known_names_allowed
from convlast.checkpoints.tree import walk
from convlast.containers import open_checkpoint
from convlast.devices import on_the_cpu
from convlast.errors import MalformedCheckpointError
from convlast.folders.shards import parts_of
from convlast.layout.memory_format import laid_out
from convlast.loading.state_dicts import load_one_of
from convlast.options import Limits


@on_the_cpu()
def load(path: str | os.PathLike[str]) -> Any:
    """Load a checkpoint with its layout, also where the container cannot hold strides.

    For a torch file this is `torch.load(path, weights_only=True)` on the CPU, with NumPy's scalars
    and modules of `torch.nn` allowed; for safetensors the layout in the manifest is applied. An
    index, or a folder with one checkpoint in it, gives the state dict of all shards.

    Raises:
        CheckpointError: If a file cannot be opened, or must not be; or if a folder has none or
            several checkpoints.
    """
    parts = parts_of(Path(path))
    if len(parts) == 1:
        return _load_file(parts[0])
    state_dict: dict[object, Any] = {}
    for part in parts:
        found = _load_file(part)
        if not isinstance(found, dict) or not state_dict.keys().isdisjoint(found):
            raise MalformedCheckpointError(
                f"{part.name!r} is no shard: it is no dict, or has keys of another shard.",
                remedy="Fetch the index and its shards anew from where they came.",
            )
        state_dict |= found
    return state_dict


@on_the_cpu()
def load_into(
    module: nn.Module,
    path: str | os.PathLike[str],
    *,
    wrapper: str | None = None,
    strict: bool = True,
) -> nn.Module:
    """Load a converted checkpoint into a model, layout kept.

    A plain `load_state_dict` copies values into the model's own, contiguous, parameters; this
    puts the checkpoint's tensors in their place. As with `load_state_dict`, the model keeps its
    device, its dtypes, its tied weights and its `requires_grad`; a model on the meta device gets
    the CPU.

    Of several state dicts in the file the one that fits is taken. Its keys may differ from the
    model's names by the parts that wrappers insert, such as `module.` and `_orig_mod.`, and by one
    prefix: the model may be a part of the one that was saved.

    Args:
        module: The model.
        path: The converted checkpoint, the index of its shards, or a folder with one of these.
        wrapper: The place of the model's weights in the file, with dots, where several fit: keys
            of the dicts, and then a prefix if one is meant.
        strict: Whether every tensor of the model must be in the file, and the other way round. If
            not, what fits is loaded; a tensor of another shape is refused all the same.

    Returns:
        The same module.

    Raises:
        ArchitectureMismatchError: If keys or shapes do not fit, or several state dicts fit. The
            model is then as it was.
        CheckpointError: If a file cannot be opened, or must not be.
    """
    load_one_of(load(path), module, Path(path).name, wrapper=wrapper, strict=strict)
    return module


def _load_file(path: Path) -> Any:
    checkpoint = open_checkpoint(path)
    if checkpoint.holds_strides:
        # Opened here, since torch takes a path that ends in .safetensors for such a file.
        with path.open("rb") as file, known_names_allowed():
            return torch.load(file, weights_only=True, mmap=False, map_location="cpu")
    state_dict: dict[str, torch.Tensor] = {}
    for entry in walk(checkpoint.root, Limits(), keep_originals=False):
        assert isinstance(entry.value, torch.Tensor)  # noqa: S101  # all there is in such a file
        key, value = str(entry.path[0]), checkpoint.read(entry.value)
        stride = checkpoint.stride_seen(key, value)
        state_dict[key] = value if value.stride() == stride else laid_out(value, stride)
    return state_dict
