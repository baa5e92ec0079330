"""Matching a state dict with the keys of a model, strictly, after removing wrappers' prefixes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import torch

from convlast.errors import ArchitectureMismatchError

PREFIXES = ("module.", "model.", "net.", "network.", "_model.", "ema_model.", "state_dict.")
"""The prefixes that DataParallel, Lightning and others add to every key."""

COMPILED = "_orig_mod"
"""The part that torch.compile adds to a key, at the place of the compiled module."""

_FILLED = "num_batches_tracked"
"""A buffer that BatchNorm does not read in eval mode, and that old checkpoints do not have."""

MAX_LISTED = 20
"""The most keys of each kind in an error."""


def match(
    name: str, expected: Mapping[str, torch.Tensor], found: Mapping[str, torch.Tensor]
) -> dict[str, str]:
    """Return the key in a state dict for each key of a model.

    A tensor that the model has under several keys may be in the file under only one of them, as in
    safetensors.

    Args:
        name: The model's name in messages.
        expected: The model's tensors.
        found: The state dict's.

    Raises:
        ArchitectureMismatchError: If keys are missing, unexpected, or of another shape.
    """
    keys = _closest(expected, found)
    missing = sorted(_lacking(expected, keys))
    unexpected = sorted(keys[key] for key in keys.keys() - expected.keys())
    shapes = [
        f"{key}: {_shape(found[keys[key]])} in the file, {_shape(tensor)} in the model"
        for key, tensor in expected.items()
        if key in keys and found[keys[key]].shape != tensor.shape
    ]
    if missing or unexpected or shapes:
        raise _mismatch(name, missing, unexpected, shapes)
    return {key: keys[key] for key in expected if key in keys}


def without_prefixes(keys: Iterable[str]) -> Iterator[dict[str, str]]:
    """Yield the keys of a state dict by their shortened names, one prefix shorter each time.

    >>> [list(each) for each in without_prefixes(["module._orig_mod.a", "module._orig_mod.b"])]
    [['module._orig_mod.a', 'module._orig_mod.b'], ['module.a', 'module.b'], ['a', 'b']]
    """
    bare = {key: key for key in keys}
    yield bare
    if any(COMPILED in key.split(".") for key in bare):
        whole = {_without(COMPILED, key): origin for key, origin in bare.items()}
        if len(whole) == len(bare):
            bare = whole
            yield bare
    while prefix := next((p for p in PREFIXES if all(key.startswith(p) for key in bare)), None):
        bare = {key.removeprefix(prefix): origin for key, origin in bare.items()}
        if not bare:
            return
        yield bare


def _closest(expected: Mapping[str, object], found: Iterable[str]) -> dict[str, str]:
    """Return the shortened keys that have the most in common with the model's."""
    return max(without_prefixes(found), key=lambda bare: len(expected.keys() & bare.keys()))


def _lacking(expected: Mapping[str, torch.Tensor], keys: Mapping[str, str]) -> Iterator[str]:
    there = {id(tensor) for key, tensor in expected.items() if key in keys}
    for key, tensor in expected.items():
        if key not in keys and id(tensor) not in there and key.split(".")[-1] != _FILLED:
            yield key


def _without(part: str, key: str) -> str:
    return ".".join(each for each in key.split(".") if each != part)


def _shape(tensor: torch.Tensor) -> str:
    return str(list(tensor.shape))


def _mismatch(
    name: str, missing: list[str], unexpected: list[str], shapes: list[str]
) -> ArchitectureMismatchError:
    words = [
        f"{len(keys)} {what} ({', '.join(key[:200] for key in keys[:3])}"
        f"{', ...' if len(keys) > 3 else ''})"
        for what, keys in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("of another shape", shapes),
        )
        if keys
    ]
    return ArchitectureMismatchError(
        f"The state dict does not fit {name}: {'; '.join(words)}.",
        remedy="Name the architecture, and the options, that the checkpoint was made with.",
        missing=_listed(missing),
        unexpected=_listed(unexpected),
        shapes=_listed(shapes),
    )


def _listed(keys: list[str]) -> list[str]:
    more = [f"and {len(keys) - MAX_LISTED} more"] if len(keys) > MAX_LISTED else []
    return [key[:200] for key in keys[:MAX_LISTED]] + more
