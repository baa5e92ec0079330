"""A converted checkpoint into memory, or into a model, with its layout."""

from __future__ import annotations

import copy
import os
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from convlast.checkpoints.guard.allowing import known_names_allowed
from convlast.checkpoints.tree import dotted, value_at, walk
from convlast.containers import open_checkpoint
from convlast.devices import on_the_cpu
from convlast.errors import (
    ArchitectureMismatchError,
    MalformedCheckpointError,
    UnsupportedContainerError,
)
from convlast.folders.shards import parts_of
from convlast.layout.memory_format import laid_out
from convlast.options import Limits
from convlast.planning.plan import make_plan


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
def load_into(module: nn.Module, path: str | os.PathLike[str]) -> nn.Module:
    """Load a converted checkpoint into a model, layout kept.

    A plain `load_state_dict` copies values into the model's own, contiguous, parameters; this
    puts the checkpoint's tensors in their place. The state dict is found in its wrapper. As with
    `load_state_dict`, the model keeps its device, its dtypes, its tied weights and its
    `requires_grad`; a model on the meta device gets the CPU.

    Args:
        module: The model.
        path: The converted checkpoint, the index of its shards, or a folder with one of these.

    Returns:
        The same module.

    Raises:
        ArchitectureMismatchError: If keys or shapes do not fit.
        CheckpointError: If a file cannot be opened, or must not be.
    """
    parts = parts_of(Path(path))
    found: Any = load(path)
    if len(parts) == 1:
        found = _state_dict_in(found, parts[0])
    if isinstance(found, nn.Module):
        found = found.state_dict()
    ties = _ties_of(module)
    try:
        module.load_state_dict(_completed(_placed(found, module), module), assign=True)
    except RuntimeError as error:
        raise ArchitectureMismatchError(
            f"The state dict does not fit the model: {error}",
            remedy="Build the model as it was when the checkpoint was saved.",
        ) from error
    _tie(ties)
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


def _state_dict_in(root: object, path: Path) -> Any:
    """Return the state dict with most convolution weights in what was loaded from a file."""
    wrapper = make_plan(open_checkpoint(path), "channels_last_3d").wrapper_path
    try:
        return value_at(root, wrapper)
    except LookupError as error:
        raise UnsupportedContainerError(
            f"The state dict stands in an attribute of a module, at {dotted(wrapper)[:200]}.",
            remedy="Save it alone: torch.save(model.state_dict(), path).",
        ) from error


def _completed(state_dict: dict[str, torch.Tensor], module: nn.Module) -> dict[str, torch.Tensor]:
    """Add the names of tied weights that were saved under one of their names alone.

    safetensors holds no tensor twice, so that `save_pretrained` and `save_model` leave them out.
    """
    names: dict[int, list[str]] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    for group in names.values():
        there = next((name for name in group if name in state_dict), None)
        for name in group:
            if there is not None:
                state_dict.setdefault(name, state_dict[there])
    return state_dict


def _placed(state_dict: Mapping[str, torch.Tensor], module: nn.Module) -> dict[str, torch.Tensor]:
    """Make each tensor fit the one whose place it takes: its device, its dtype; strides are kept.

    A tensor under two keys stays one tensor.
    """
    own = module.state_dict()
    moved: dict[tuple[object, ...], torch.Tensor] = {}
    placed: OrderedDict[str, torch.Tensor] = OrderedDict()
    for key, value in state_dict.items():
        device, dtype = value.device, value.dtype
        if key in own and isinstance(own[key], torch.Tensor):
            device = device if own[key].is_meta else own[key].device
            dtype = own[key].dtype if value.is_floating_point() else dtype
        place = (id(value), device, dtype)
        placed[key] = moved.setdefault(place, value.to(device=device, dtype=dtype))
    # The versions of the modules, by which some of them read older state dicts. A copy, since
    # assign=True writes into it. Source: https://github.com/pytorch/pytorch/issues/188166
    vars(placed).update(copy.deepcopy(getattr(state_dict, "__dict__", {})))
    return placed


def _ties_of(module: nn.Module) -> list[list[tuple[nn.Module, str]]]:
    """Return the places of each parameter that stands in several."""
    places: dict[int, list[tuple[nn.Module, str]]] = {}
    for owner in module.modules():
        for name, parameter in owner.named_parameters(recurse=False, remove_duplicate=False):
            places.setdefault(id(parameter), []).append((owner, name))
    return [group for group in places.values() if len(group) > 1]


def _tie(ties: list[list[tuple[nn.Module, str]]]) -> None:
    """Make one parameter of each group again, which assignment has split."""
    for (owner, name), *others in ties:
        for other, other_name in others:
            setattr(other, other_name, getattr(owner, name))
