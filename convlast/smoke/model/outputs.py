"""The tensors in the result of a model, and how to compare two results."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from math import prod
from typing import Any, TypeAlias

import torch
from torch import Tensor

from convlast.report import Parity
from convlast.smoke.parity import badness, compare

Outputs: TypeAlias = dict[str, Tensor]
"""The floating-point tensors of a result by their path in it: `0`, `sample`, `logits.0`."""

QUANTILES = (0.5, 0.9, 0.99, 0.999)

SAMPLES = 1 << 16
"""How many evenly spaced elements quantiles are computed from."""

DEPTH = 5
"""How many levels deep a result is searched for tensors."""


class NothingToCompare(Exception):  # noqa: N818  # that is what it says, as TimeUp does
    """A model that returns no floating-point tensor."""


def outputs_of(result: object) -> Outputs:
    """Return the floating-point tensors in a result; a complex one as pairs of real numbers.

    Tensors may be in lists, tuples, dicts (which includes the results of transformers and
    diffusers), and in the attributes of objects.

    >>> outputs_of((torch.zeros(1), {"aux": torch.ones(2)})).keys()
    dict_keys(['0', '1.aux'])
    """
    leaves = {".".join(path): tensor.detach() for path, tensor in _leaves(result, ())}
    return {
        path: torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor
        for path, tensor in leaves.items()
        if tensor.is_floating_point() or tensor.is_complex()
    }


def parity_of(reference: Outputs, actual: Outputs, *, pair: str, threshold: float) -> Parity:
    """Compare two results; return the parity of the output with the largest difference.

    Each output is compared relative to its own scale.

    Raises:
        ValueError: If they do not have the same outputs of the same shapes.
    """
    if reference.keys() != actual.keys():
        raise ValueError(f"outputs {[*reference]} and {[*actual]} cannot be compared")
    parities = [
        compare(reference[name], actual[name], pair=pair, threshold=threshold).model_copy(
            update={
                "output": name if len(reference) > 1 else None,
                "quantiles": _quantiles(reference[name], actual[name]),
            }
        )
        for name in reference
    ]
    return max(parities, key=badness)


def sample_of(tensor: Tensor, number: int) -> Tensor:
    """Return at most this many elements, evenly spaced in logical order, as a flat tensor.

    >>> sample_of(torch.arange(10), 4)
    tensor([0, 2, 5, 7])
    """
    if tensor.numel() <= number:
        return tensor.flatten()
    return tensor[_places(tuple(tensor.shape), number, tensor.device)]


@lru_cache(maxsize=256)
def _places(shape: tuple[int, ...], number: int, device: torch.device) -> tuple[Tensor, ...]:
    """Return the indices of evenly spaced elements."""
    numbers = torch.arange(number, device=device) * prod(shape) // number
    return torch.unravel_index(numbers, shape)


def _leaves(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Tensor]]:
    if isinstance(value, Tensor):
        yield path or ("0",), value
        return
    if len(path) >= DEPTH:
        return
    for name, part in _parts(value):
        yield from _leaves(part, (*path, str(name)))


def _parts(value: Any) -> Iterable[tuple[object, Any]]:
    if isinstance(value, Mapping):
        return value.items()
    if isinstance(value, list | tuple):
        names = getattr(value, "_fields", range(len(value)))
        return zip(names, value, strict=True)
    return vars(value).items() if hasattr(value, "__dict__") else ()


def _quantiles(reference: Tensor, actual: Tensor) -> dict[str, float] | None:
    """Return quantiles of the absolute difference, relative to the scale of the reference."""
    left = sample_of(reference, SAMPLES).to(torch.float64)
    right = sample_of(actual, SAMPLES).to(torch.float64)
    both = left.isfinite() & right.isfinite()
    left, right = left[both], right[both]
    if not left.numel() or not (scale := float(left.abs().max())):
        return None
    differences = ((right - left).abs() / scale).sort().values
    last = differences.numel() - 1
    return {str(share): float(differences[round(share * last)]) for share in QUANTILES}
