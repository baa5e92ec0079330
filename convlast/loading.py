"""A converted checkpoint into memory, or into a model, with its layout."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from convlast.checkpoints import open_checkpoint
from convlast.checkpoints.tree import walk
from convlast.errors import ArchitectureMismatchError
from convlast.options import Limits
from convlast.plan import make_plan


def load(path: str | os.PathLike[str]) -> Any:
    """Load a checkpoint with its layout, also where the container cannot hold strides.

    For a torch file this is `torch.load(path, weights_only=True)` on the CPU; for safetensors
    the layout in the manifest is applied.

    Raises:
        CheckpointError: If the file cannot be opened, or must not be.
    """
    checkpoint = open_checkpoint(Path(path))
    if checkpoint.container != "safetensors":
        # Opened here, since torch takes a path that ends in .safetensors for such a file.
        with Path(path).open("rb") as file:
            return torch.load(file, weights_only=True, map_location="cpu")
    manifest = checkpoint.manifest
    state_dict: dict[str, torch.Tensor] = {}
    for entry in walk(checkpoint.root, Limits()):
        assert isinstance(entry.value, torch.Tensor)  # noqa: S101  # all there is in safetensors
        key, value = str(entry.path[0]), checkpoint.read(entry.value)
        if manifest and (stride := manifest.stride_after(key, tuple(value.shape))):
            value = torch.empty_strided(value.shape, stride, dtype=value.dtype).copy_(value)
        state_dict[key] = value
    return state_dict


def load_into(module: nn.Module, path: str | os.PathLike[str]) -> nn.Module:
    """Load a converted checkpoint into a model, layout kept.

    A plain `load_state_dict` copies values into the model's own, contiguous, parameters; this
    puts the checkpoint's tensors in their place. The state dict is found in its wrapper.

    Args:
        module: The model, on any device; its parameters' `requires_grad` stays.
        path: The converted checkpoint.

    Returns:
        The same module.

    Raises:
        ArchitectureMismatchError: If keys or shapes do not fit.
        CheckpointError: If the file cannot be opened, or must not be.
    """
    checkpoint = open_checkpoint(Path(path))
    plan = make_plan(checkpoint, "channels_last_3d")
    found: Any = load(path)
    for part in max(
        (decision.candidate.path[:-1] for decision in plan.decisions),
        key=[decision.candidate.path[:-1] for decision in plan.decisions].count,
    ):
        found = found[part]
    state_dict = _placed(found, module)
    try:
        module.load_state_dict(state_dict, assign=True)
    except RuntimeError as error:
        raise ArchitectureMismatchError(
            f"The state dict does not fit the model: {error}",
            remedy="Build the model as it was when the checkpoint was saved.",
        ) from error
    return module


def _placed(state_dict: Mapping[str, torch.Tensor], module: nn.Module) -> dict[str, torch.Tensor]:
    """Move each tensor to the device of the one whose place it takes; strides are kept."""
    own = module.state_dict()
    placed = OrderedDict(
        (key, value.to(own[key].device) if key in own and not own[key].is_meta else value)
        for key, value in state_dict.items()
    )
    # The versions of the modules, by which some of them read older state dicts.
    vars(placed).update(getattr(state_dict, "__dict__", {}))
    return placed
