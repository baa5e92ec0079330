"""The layout of a converted checkpoint, given to a model that was loaded by others."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from convlast.checkpoints.manifest import Manifest
from convlast.checkpoints.tree import Entry
from convlast.errors import ArchitectureMismatchError
from convlast.layout.memory_format import laid_out
from convlast.loading.choosing import MAX_LISTED, first_meant, named, no_such_place, place_of
from convlast.loading.fitting import Fit, Model, fits_of
from convlast.loading.mismatch import mismatch
from convlast.loading.noted_layouts import Layout, layouts_in, layouts_of
from convlast.planning.weights import find_weights
from convlast.report.listing import listed


def apply_layout(
    module: nn.Module,
    manifest: Manifest | str | os.PathLike[str],
    *,
    wrapper: str | None = None,
    strict: bool = True,
) -> nn.Module:
    """Give a loaded model the layout that a manifest notes; values stay.

    For frameworks that load by themselves, and so lose the layout: load as ever, then apply it.

    If there are several state dicts, or several checkpoints in a folder, the one that fits is used.
    Its keys may differ from the model's names by the parts that wrappers insert, such as `module.`
    and `_orig_mod.`, and by one prefix: the model may be a part of the saved one, or hold it.

    Args:
        module: The model, with its weights, on any device.
        manifest: The note of a conversion; or the converted file that carries it, the index of
            converted shards, or a folder with converted files in it or below.
        wrapper: The place of the model's weights in the file, with dots, if several fit: the keys
            of the dicts, then a prefix of the weights' keys if need be.
        strict: Whether to refuse a state dict unless each convolution of the model is in it, or
            each of its layers in the model. If not, the layers that fit get their layout.

    Returns:
        The same module.

    Raises:
        ArchitectureMismatchError: If no state dict fits, or several fit and disagree. The model is
            then as it was.
        MalformedCheckpointError: If no file carries a manifest.
    """
    if isinstance(manifest, Manifest):
        subject, layouts = "the manifest", layouts_of([manifest])
    else:
        subject, layouts = repr(Path(manifest).name), layouts_in(Path(manifest))
    tensors = dict(_tensors_of(module))
    model = _model_of(tensors)
    options = [fit for layout in layouts for fit in fits_of(layout.about, model)]
    if not options:
        return module  # no checkpoint has a layer
    options = _at_the_place(options, wrapper)
    if not options:
        raise no_such_place(subject, wrapper, [layout.about for layout in layouts])
    serving = _serving(options, model, strict=strict)
    if not serving:
        raise _misfit(subject, options, model)
    strides = _agreed(serving, layouts, model)
    for name, tensor in tensors.items():
        stride = strides.get(model.ids[name])
        if stride is not None and tensor.stride() != stride:
            tensor.data = laid_out(tensor, stride)
    return module


def _tensors_of(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the parameters and buffers, under each of their names."""
    for tensors in (module.named_parameters, module.named_buffers):
        for name, tensor in tensors(remove_duplicate=False):
            if not is_lazy(tensor):
                yield name, tensor


def _model_of(tensors: Mapping[str, torch.Tensor]) -> Model:
    """Return what a model needs of a layout: that of each convolution weight."""
    owner = dict(tensors)
    weights, _ = find_weights(Entry((name,), tensor, owner) for name, tensor in tensors.items())
    return Model(
        shapes={name: tuple(tensor.shape) for name, tensor in tensors.items()},
        ids={name: id(tensor) for name, tensor in tensors.items()},
        needed=frozenset(id(weight.tensor) for weight in weights),
    )


def _at_the_place(options: Sequence[Fit], wrapper: str | None) -> list[Fit]:
    """Return the options at the place that the caller names.

    A manifest does not note the path of the only state dict with layers. There the first parts of
    the place are passed over, up to a prefix.
    """
    found = named(options, wrapper)
    if any(fit.state_dict.path for fit in options):
        return found
    while not found and wrapper:
        wrapper = wrapper.partition(".")[2]
        found = named(options, wrapper or None)
    return found


def _serving(options: Sequence[Fit], model: Model, *, strict: bool) -> list[Fit]:
    """Return the options to apply: those with all that the model needs, or else the largest.

    A model that needs more than the checkpoint has is served by whole state dicts, the largest of
    them among these: one layer of a small one may fit anywhere.
    """
    complete = [fit for fit in options if fit.covers(model)]
    if complete:
        return complete
    whole = [fit for fit in options if fit.is_whole]
    sizes = [len(fit.state_dict.shapes) for fit in options]
    if any(len(fit.state_dict.shapes) == max(sizes) for fit in whole):
        return whole
    most = max(fit.fitting for fit in options)
    return [] if strict or not most else [fit for fit in options if fit.fitting == most]


def _agreed(
    serving: Sequence[Fit], layouts: Sequence[Layout], model: Model
) -> dict[int, tuple[int, ...]]:
    """Return the strides for each of the model's tensors, by its number.

    Raises:
        ArchitectureMismatchError: If two state dicts disagree, and neither is plainly meant.
    """
    noted = {id(layout.about): layout.strides for layout in layouts}
    strides: dict[int, tuple[int, ...]] = {}
    sources: dict[int, Fit] = {}
    for fit in serving:
        wanted = {
            model.ids[name]: noted[id(fit.state_dict)][key]
            for key, name in fit.names.items()
            if key in noted[id(fit.state_dict)] and model.shapes[name] == fit.state_dict.shapes[key]
        }
        rivals = {
            id(sources[number]): sources[number]
            for number, stride in wanted.items()
            if strides.get(number, stride) != stride
        }
        if rivals:
            first_meant([*rivals.values(), fit], lambda one, other: one is other)
            continue
        strides |= wanted
        sources |= dict.fromkeys(wanted, fit)
    return strides


def _misfit(subject: str, options: Sequence[Fit], model: Model) -> ArchitectureMismatchError:
    closest = max(options, key=lambda fit: fit.fitting)
    places = list(dict.fromkeys(place_of(fit.state_dict) for fit in options))
    head = f"The layout in {subject} does not fit the model"
    if len(places) > 1:
        head = (
            f"None of the {len(places)} layouts in {subject} fits the model: "
            f"{listed(places, at_most=MAX_LISTED)}. The closest is {place_of(closest)}"
        )
    return mismatch(
        f"{head}: {closest.fitting} of {closest.scope} layers do.",
        closest,
        model,
        remedy="Apply it to the model that the checkpoint belongs to, or pass strict=False for the "
        "layers that fit.",
        only_needed=True,
    )
