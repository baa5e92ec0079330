"""Loading a checkpoint's values into a model: fp32, contiguous, on the CPU."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import nn

from convlast.architectures.building import persistent, replace
from convlast.architectures.matching import match
from convlast.architectures.renaming import saved_names
from convlast.checkpoints.checkpoint import Checkpoint
from convlast.checkpoints.declaration import Declaration
from convlast.checkpoints.tree import Entry, KeyPath
from convlast.planning.plan import Plan
from convlast.planning.weights import declaration_of


def state_dict_of(plan: Plan) -> tuple[KeyPath, dict[str, torch.Tensor]]:
    """Return the path, and the tensors by key, of the state dict with most convolution weights.

    The tensors have no data, but the strides of the original.
    """
    return plan.wrapper_path, dict(_below(plan.wrapper_path, plan.entries))


def made_by(
    name: str,
    model: nn.Module,
    checkpoint: Checkpoint,
    found: Mapping[str, torch.Tensor],
) -> tuple[Callable[[], nn.Module], dict[str, str]]:
    """Return a function that makes a model with the checkpoint's values, and the keys in the file.

    Args:
        name: The model's name in messages.
        model: Its blueprint, on the meta device.
        checkpoint: The checkpoint with the values.
        found: The tensors of the state dict.

    Raises:
        ArchitectureMismatchError: If the state dict does not fit.
    """
    expected, names = persistent(model), saved_names(model)
    if names and any(key.endswith(tuple(names)) for key in found):
        renamed = {own: key for key, own in names.items()}
        as_saved = {renamed.get(own, own): tensor for own, tensor in expected.items()}
        matched = match(name, as_saved, found)
        keys = {names.get(key, key): origin for key, origin in matched.items()}
    else:
        keys = match(name, expected, found)
    originals = {key: found[origin] for key, origin in keys.items()}
    return lambda: _filled(model, checkpoint, originals), keys


def weights_of(plan: Plan, wrapper: KeyPath, keys: Mapping[str, str]) -> dict[str, str]:
    """Return the model's parameter for each layer of the plan that is in this state dict."""
    parameters = {origin: key for key, origin in keys.items()}
    return {
        decision.name: parameters[key]
        for decision in plan.decisions
        if decision.candidate.path[:-1] == wrapper
        and (key := str(decision.candidate.path[-1])) in parameters
    }


def declarations_of(
    name: str, model: nn.Module, weights: Mapping[str, str]
) -> dict[str, Declaration]:
    """Return what a model's modules say of each layer whose weight they hold.

    Args:
        name: The model's name, for the evidence.
        model: The model.
        weights: The name of the parameter, by the name of the layer.
    """
    modules = dict(model.named_modules(remove_duplicate=False))
    parameters = dict(model.named_parameters(remove_duplicate=False))
    owners = {layer: modules.get(key.rpartition(".")[0]) for layer, key in weights.items()}
    declared = {
        layer: declaration_of(
            owners[layer], parameters[key], f"a {type(owners[layer]).__name__} of {name}"
        )
        for layer, key in weights.items()
        if key in parameters
    }
    return {layer: known for layer, known in declared.items() if known is not None}


def _below(wrapper: KeyPath, entries: Iterable[Entry]) -> Iterable[tuple[str, torch.Tensor]]:
    for entry in entries:
        if entry.path[:-1] == wrapper and entry.original is not None:
            yield str(entry.path[-1]), entry.original


def _filled(
    model: nn.Module, checkpoint: Checkpoint, originals: Mapping[str, torch.Tensor]
) -> nn.Module:
    made = copy.deepcopy(model)
    values: dict[int, torch.Tensor] = {}
    for key, tensor in persistent(made).items():
        if id(tensor) not in values and key in originals:
            values[id(tensor)] = _read(checkpoint, originals[key], tensor.dtype)
    for tensor in persistent(made).values():  # tensors that old checkpoints do not have
        values.setdefault(id(tensor), torch.zeros(tensor.shape, dtype=tensor.dtype))
    replace(made, values)
    return made.eval()


def _read(checkpoint: Checkpoint, original: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Read a tensor as fp32, or in the model's own dtype if that is not floating-point."""
    read = checkpoint.read(original)
    wanted = torch.float32 if dtype.is_floating_point else dtype
    # Not contiguous(), which can leave channels-last strides if an extent is 1.
    return torch.empty(read.shape, dtype=wanted).copy_(read)
