"""Putting the tensors of a state dict in the place of a model's own."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch
from torch import nn

_Place: TypeAlias = tuple[nn.Module, str]


def place(state_dict: Mapping[str, Any], module: nn.Module, *, strict: bool) -> list[str]:
    """Load a state dict by PyTorch's own function, layout kept; return the keys that it lacks.

    The model keeps its device, its dtypes, its tied weights and its `requires_grad`; a model on the
    meta device gets the CPU.

    Raises:
        RuntimeError: If PyTorch refuses it. The model is then as it was.
    """
    ties = _ties_of(module)
    placed = _placed(_completed(dict(state_dict), module), module)
    # The versions of the modules, by which some of them read older state dicts. A copy, since
    # assign=True writes into it. Source: https://github.com/pytorch/pytorch/issues/188166
    vars(placed).update(copy.deepcopy(getattr(state_dict, "__dict__", {})))
    with _undone_on_error(module):
        missing = module.load_state_dict(placed, strict=strict, assign=True).missing_keys
    _tie(ties)
    return list(missing)


@contextmanager
def _undone_on_error(module: nn.Module) -> Iterator[None]:
    """Give a module its own tensors back if loading raises halfway."""
    owners = list(module.modules())
    before = [(dict(owner._parameters), dict(owner._buffers)) for owner in owners]
    try:
        yield
    except Exception:
        for owner, (parameters, buffers) in zip(owners, before, strict=True):
            owner._parameters.update(parameters)
            owner._buffers.update(buffers)
        raise


def _completed(state_dict: dict[str, Any], module: nn.Module) -> dict[str, Any]:
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


def _placed(state_dict: Mapping[str, Any], module: nn.Module) -> OrderedDict[str, Any]:
    """Make each tensor fit the one whose place it takes: its device, its dtype; strides are kept.

    A tensor under two keys stays one tensor.
    """
    own = module.state_dict()
    moved: dict[tuple[object, ...], torch.Tensor] = {}
    placed: OrderedDict[str, Any] = OrderedDict()
    for key, value in state_dict.items():
        if not isinstance(value, torch.Tensor):
            placed[key] = value
            continue
        device, dtype = value.device, value.dtype
        if key in own and isinstance(own[key], torch.Tensor):
            device = device if own[key].is_meta else own[key].device
            dtype = own[key].dtype if value.is_floating_point() else dtype
        target = (id(value), device, dtype)
        placed[key] = moved.setdefault(target, value.to(device=device, dtype=dtype))
    return placed


def _ties_of(module: nn.Module) -> list[list[_Place]]:
    """Return the places of each parameter that stands in several."""
    places: dict[int, list[_Place]] = {}
    for owner in module.modules():
        for name, parameter in owner.named_parameters(recurse=False, remove_duplicate=False):
            places.setdefault(id(parameter), []).append((owner, name))
    return [group for group in places.values() if len(group) > 1]


def _tie(ties: list[list[_Place]]) -> None:
    """Make one parameter of each group again, which assignment has split."""
    for (owner, name), *others in ties:
        for other, other_name in others:
            setattr(other, other_name, getattr(owner, name))
