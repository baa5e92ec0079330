"""A model of two named parts, and wrappers around each of its modules."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from convlast.checkpoints.checkpoint import Checkpoint
from convlast.checkpoints.manifest import Manifest
from convlast.planning.plan import make_plan
from tests.exactness import strides_by_pytorch

PLACES = ("", "enc", "dec", "enc.0", "dec.1")
"""The modules of `pair` that can be wrapped."""

INSERTED = (
    "module",
    "_orig_mod",
    "_fsdp_wrapped_module",
    "_checkpoint_wrapped_module",
    "base_layer",
    "base_model.model",
)
"""What wrappers insert into the names below them."""


def pair() -> nn.Module:
    """Return a model of two parts with convolutions, under names of its own."""
    model = nn.Module()
    model.enc = nn.Sequential(nn.Conv3d(3, 8, 3), nn.BatchNorm3d(8))
    model.dec = nn.Sequential(nn.Conv3d(8, 4, 3), nn.ConvTranspose3d(4, 2, 2))
    return model


def wrapped(module: nn.Module, name: str) -> nn.Module:
    """Return a module that holds another one under a name of one or more parts."""
    for part in reversed(name.split(".")):
        holder = nn.Module()
        holder.add_module(part, module)
        module = holder
    return module


def with_wrappers(model: nn.Module, wrappers: Mapping[str, list[str]]) -> nn.Module:
    """Wrap the modules of a model at some places, each as often as there are names."""
    for place in sorted(wrappers, key=len, reverse=True):
        for name in wrappers[place]:
            inner = wrapped(model.get_submodule(place), name)
            if not place:
                model = inner
            else:
                owner, _, last = place.rpartition(".")
                setattr(model.get_submodule(owner), last, inner)
    return model


def manifest_of(root: object) -> Manifest:
    """Return what a conversion of these objects notes."""
    return make_plan(Checkpoint(Path(), "memory", root), "channels_last_3d").manifest(None)


def assert_laid_out(model: nn.Module) -> None:
    """Check that each convolution weight has the strides that PyTorch gives it."""
    weights = [tensor for tensor in model.parameters() if tensor.dim() == 5]
    assert weights
    for weight in weights:
        assert weight.stride() == strides_by_pytorch(weight.detach())
        assert weight.stride() != torch.empty_like(weight).contiguous().stride()
