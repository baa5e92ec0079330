"""The state dicts in a loaded file, and the one of them that a model gets."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from convlast.checkpoints.tree import KeyPath, dotted, value_at, walk
from convlast.loading.choosing import first_meant, named, no_such_place, place_of
from convlast.loading.fitting import Fit, Model, Shape, StateDict, fits_of
from convlast.loading.mismatch import mismatch
from convlast.loading.placing import place
from convlast.options import Limits
from convlast.planning.optimizers import is_in_optimizer, is_moment

_EXTRA = "_extra_state"
"""The last part of the key under which a module saves other things than tensors."""

_OPTIONAL = {_EXTRA, "num_batches_tracked"}
"""The last parts of keys that old checkpoints lack; PyTorch says whether it can do without them."""


@dataclass(frozen=True)
class Holder:
    """A state dict in a file.

    Attributes:
        about: Its place, and the shapes of its tensors.
        held: The dict.
    """

    about: StateDict
    held: Mapping[Any, Any]


def load_one_of(
    root: object, module: nn.Module, file: str, *, wrapper: str | None, strict: bool
) -> None:
    """Load the state dict that fits a model.

    Args:
        root: The content of the file.
        module: The model.
        file: The file's name for messages.
        wrapper: The place of the tensors that the caller names.
        strict: Whether the state dict must fit exactly.

    Raises:
        ArchitectureMismatchError: If none fits, or several do.
    """
    holders, model = state_dicts_in(root), model_of(module)
    every = [fit for holder in holders for fit in fits_of(holder.about, model)]
    options = named(every, wrapper)
    if not options:
        raise no_such_place(repr(file), wrapper, [holder.about for holder in holders])
    held = {id(holder.about): holder.held for holder in holders}
    fit = _chosen(options, held, model, strict=strict)
    state_dict = _renamed(fit, held[id(fit.state_dict)], module)
    several = f" The closest of {len(holders)} state dicts is {place_of(fit)}."
    head = (
        f"{file!r} does not fit the {type(module).__name__}: {fit.fitting} of "
        f"{len(model.shapes)} tensors do.{several if len(holders) > 1 else ''}"
    )
    can_be_lenient = strict and fit.fitting == len(fit.names) > 0
    remedy = "Build the model as it was when the checkpoint was saved" + (
        ", or pass strict=False to load the tensors that fit." if can_be_lenient else "."
    )
    try:
        missing = place(state_dict, module, strict=strict)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:500]
        raise mismatch(head, fit, model, remedy=remedy, reason=reason) from error
    if model.needed and not model.needed & {model.ids[key] for key in model.ids.keys() - missing}:
        raise mismatch(head, fit, model, remedy=remedy)


def state_dicts_in(root: object) -> list[Holder]:
    """Return each dict or module with tensors, in the file's order, without optimizers' states."""
    entries = walk(root, Limits(), keep_originals=False)
    paths = [
        each.path
        for each in entries
        if each.path and not (is_moment(each.path) or is_in_optimizer(each.path, root))
    ]
    found = []
    for path in dict.fromkeys(path[:-1] for path in paths):
        held = _at(path, root)
        tensors = held.state_dict() if isinstance(held, nn.Module) else held
        if isinstance(tensors, dict):
            found.append(Holder(StateDict(dotted(path), _shapes_in(tensors)), tensors))
    return found


def model_of(module: nn.Module) -> Model:
    """Return the tensors that a model saves and loads."""
    own = module.state_dict(keep_vars=True)
    return Model(
        shapes={name: _shape_of(value) for name, value in own.items()},
        ids={name: id(value) for name, value in own.items()},
        needed=frozenset(
            id(value) for name, value in own.items() if name.split(".")[-1] not in _OPTIONAL
        ),
    )


def _chosen(
    options: Sequence[Fit], held: Mapping[int, Mapping[Any, Any]], model: Model, *, strict: bool
) -> Fit:
    """Return the way to load: an exact one, of a whole state dict if possible; or the closest."""

    def are_alike(one: Fit, other: Fit) -> bool:
        mine, theirs = held[id(one.state_dict)], held[id(other.state_dict)]
        keys = {name: key for key, name in other.names.items()}
        return len(keys) == len(one.names) and all(
            name in keys and _equal(mine[key], theirs[keys[name]])
            for key, name in one.names.items()
        )

    exact = [fit for fit in options if fit.covers(model) and fit.is_exact]
    if exact:
        return first_meant([fit for fit in exact if fit.is_whole] or exact, are_alike)
    most = max(fit.fitting for fit in options)
    closest = [fit for fit in options if fit.fitting == most]
    if strict or not most:
        return max(closest, key=_weights)  # which PyTorch refuses, unless the model renames keys
    return first_meant(closest, are_alike)


def _weights(fit: Fit) -> int:
    """Return the number of tensors with five dimensions."""
    return sum(shape is not None and len(shape) == 5 for shape in fit.state_dict.shapes.values())


def _renamed(fit: Fit, held: Mapping[Any, Any], module: nn.Module) -> OrderedDict[str, Any]:
    """Return a state dict under the model's names, with its attributes, such as the versions."""
    renamed = OrderedDict((name, held[key]) for key, name in fit.keys().items())
    vars(renamed).update(getattr(held, "__dict__", {}))
    versions = getattr(held, "_metadata", None)
    if isinstance(versions, Mapping):
        vars(renamed)["_metadata"] = _versions(fit, versions, module)
    return renamed


def _versions(fit: Fit, versions: Mapping[Any, Any], module: nn.Module) -> OrderedDict[str, Any]:
    """Return the entry of each of the model's modules in the metadata of a state dict.

    A wrapper has the same name as its module once the inserted part is left out; the module's own
    entry comes later, and counts.
    """
    found: dict[str, Any] = {}
    for name, entry in versions.items():
        formed = fit.form(f"{name}." if name else "")
        if formed.startswith(fit.taken):
            found[fit.added + formed.removeprefix(fit.taken)] = entry
    names = [name for name, _ in module.named_modules(remove_duplicate=False)]
    forms = {name: fit.form(f"{name}." if name else "") for name in names}
    return OrderedDict((name, found[form]) for name, form in forms.items() if form in found)


def _at(path: KeyPath, root: object) -> object:
    """Return the dict, list or module at a path; None if it is inside a module."""
    try:
        return value_at(root, path)
    except LookupError:
        return None


def _shapes_in(held: Mapping[Any, Any]) -> dict[str, Shape]:
    return {
        key: _shape_of(value)
        for key, value in held.items()
        if isinstance(key, str)
        and (isinstance(value, torch.Tensor) or key.split(".")[-1] == _EXTRA)
    }


def _shape_of(value: object) -> Shape:
    return tuple(value.shape) if isinstance(value, torch.Tensor) and not is_lazy(value) else None


def _equal(one: object, other: object) -> bool:
    """Return whether two tensors have the same values in the same layout."""
    if one is other:
        return True
    if not isinstance(one, torch.Tensor) or not isinstance(other, torch.Tensor):
        return False
    if one.layout != torch.strided or other.layout != torch.strided:
        return False
    facts = [(each.dtype, each.shape, each.stride(), each.is_quantized) for each in (one, other)]
    return facts[0] == facts[1] and torch.equal(one, other)
