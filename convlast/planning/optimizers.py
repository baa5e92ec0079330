"""Which tensors of a checkpoint are the state of an optimizer, by names and by structure."""

from __future__ import annotations

import re
from typing import Any

from convlast.checkpoints.tree import KeyPath

_MOMENTS = {
    "acc_delta",
    "exp_avg",
    "exp_avg_diff",
    "exp_avg_sq",
    "exp_inf",
    "grad_avg",
    "max_exp_avg_sq",
    "momentum_buffer",
    "square_avg",
}
"""What PyTorch's optimizers call their moments; a `weight` below one of these is one of them."""

_OPTIMIZERS = {"optimizer", "optimizers", "optimiser", "optimisers"}
"""What trainers call the state of an optimizer. It may hold a `weight` for each of the model's."""

_SHORT, _OF_MODELS = {"optim", "optims"}, {"best", "ema", "model", "models", "net", "weights"}
"""What may be short for an optimizer, and beside which words it is short for an optimal model."""

_PARTS_OF_OPTIMIZER = {"state", "param_groups"}
"""The keys of every state dict of an optimizer, whatever a trainer calls it."""

_CAPITAL_INSIDE, _WORD = re.compile(r"([a-z])([A-Z])"), re.compile(r"[a-z]+")


def is_moment(path: KeyPath) -> bool:
    """Return whether a path leads into an optimizer's state.

    >>> is_moment(("optimizer_states", "weight")), is_moment(("optimal_state_dict", "weight"))
    (True, False)
    """
    *wrappers, key = [str(part) for part in path]
    return any(_names_optimizer(words_in(part)) for part in wrappers) or (
        not _MOMENTS.isdisjoint(part for name in (*wrappers, key) for part in name.split("."))
    )


def _names_optimizer(words: set[str]) -> bool:
    is_short = not _SHORT.isdisjoint(words) and _OF_MODELS.isdisjoint(words)
    return is_short or not _OPTIMIZERS.isdisjoint(words)


def is_in_optimizer(path: KeyPath, root: object) -> bool:
    """Return whether a path leads into the state of an optimizer, by the keys beside it.

    >>> optimizer = {"state": {0: {"weight": 1}}, "param_groups": []}
    >>> is_in_optimizer(("adam", "state", 0, "weight"), {"adam": optimizer})
    True
    """
    held: Any = root
    steps: tuple[Any, ...] = path
    for key in steps:
        if _is_optimizer(held):
            return True
        if not isinstance(held, dict | list | tuple):
            return False
        try:
            held = held[key]
        except (KeyError, IndexError, TypeError):
            return False
    return False


def _is_optimizer(held: object) -> bool:
    """Return whether a dict has an optimizer's keys, and its state has a dict for each weight."""
    if not isinstance(held, dict) or not held.keys() >= _PARTS_OF_OPTIMIZER:
        return False
    state = held["state"]
    return isinstance(state, dict) and isinstance(next(iter(state.values()), None), dict)


def words_in(name: str) -> set[str]:
    """Split a name into its words.

    >>> sorted(words_in("generatorOptimizer_2")), sorted(words_in("optimG.state"))
    (['generator', 'optimizer'], ['g', 'optim', 'state'])
    """
    return set(_WORD.findall(_CAPITAL_INSIDE.sub(r"\1 \2", name).lower()))
