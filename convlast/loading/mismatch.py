"""The words for a checkpoint that does not fit a model: each name once, in few lines."""

from __future__ import annotations

from collections.abc import Sequence

from convlast.errors import ArchitectureMismatchError
from convlast.loading.fitting import Fit, Model, Shape, fits
from convlast.report.listing import listed

_MAX_SHOWN = 3
"""The most names of each kind in the message."""

_MAX_LISTED = 20
"""The most names of each kind in the details."""

_MAX_LENGTH = 200

_RECOMPUTED = {
    "_mask": "One of the two is pruned. Call torch.nn.utils.prune.remove(module, 'weight') on that "
    "one, or prune the other likewise.",
    "weight_orig": "One of the two is pruned, or has spectral norm. Remove that there, or give it "
    "to the other.",
    "weight_g": "One of the two has weight norm. Call torch.nn.utils.remove_weight_norm on that "
    "one, or apply it to the other.",
    ".original": "One of the two is parametrized. Call "
    "torch.nn.utils.parametrize.remove_parametrizations on that one, or parametrize the other.",
    ".original0": "One of the two has weight norm. Call "
    "torch.nn.utils.parametrize.remove_parametrizations on that one, or apply it to the other.",
}
"""What to do about layers whose weight is recomputed, by the ending of one of their names."""


def mismatch(
    head: str,
    fit: Fit,
    model: Model,
    *,
    remedy: str,
    only_needed: bool = False,
    reason: str = "",
) -> ArchitectureMismatchError:
    """Return the error for a state dict that does not fit.

    Args:
        head: The first line, which says what does not fit.
        fit: The closest match.
        model: The model.
        remedy: What to do, unless the names tell it.
        only_needed: Whether to leave out those of the model's tensors that it does not need.
        reason: What to say if no name tells it.
    """
    names, keys, shapes = fit.names, fit.keys(), fit.state_dict.shapes
    there = {model.ids[name] for name in names.values()}
    missing = [
        name
        for name, number in model.ids.items()
        if number not in there and (number in model.needed or not only_needed)
    ]
    unexpected = [_shown(key) for key in keys if key not in names]
    wrong = [
        f"{_shown(key)}: {_shape(shapes[key])} in the file, {_shape(model.shapes[name])} in the "
        "model"
        for key, name in names.items()
        if not fits(shapes[key], model.shapes[name])
    ]
    kinds = {
        "Not in the file": missing,
        "Not in the model": unexpected,
        "Of another shape": wrong,
    }
    lines = [
        f"{kind}: {listed(found, at_most=_MAX_SHOWN)}." for kind, found in kinds.items() if found
    ]
    remedies = (
        text
        for ending, text in _RECOMPUTED.items()
        if any(name.endswith(ending) for name in (*missing, *unexpected))
    )
    return ArchitectureMismatchError(
        "\n".join([head, *(lines or filter(None, [reason]))]),
        remedy=next(remedies, remedy),
        missing=_cut(missing),
        unexpected=_cut(unexpected),
        shapes=_cut(wrong),
    )


def _shown(key: str) -> str:
    """Return a key for a message: on one line, and cut if it is long."""
    text = key if len(key) <= _MAX_LENGTH else f"{key[:_MAX_LENGTH]}..."
    return text if text.isprintable() else repr(text)


def _shape(shape: Shape) -> str:
    return "none" if shape is None else str(list(shape))


def _cut(names: Sequence[str]) -> list[str]:
    more = [f"and {len(names) - _MAX_LISTED} more"] if len(names) > _MAX_LISTED else []
    return [*names[:_MAX_LISTED], *more]
