"""Modules of `torch.nn` in a pickle: which classes are known, and with which attributes.

A module that is pickled is an object without arguments (NEWOBJ) that is given its attributes
(BUILD). So no constructor runs: one would make a tensor as large as its arguments say. The
attributes are those that PyTorch's own class has, and hold data; one that hides a method, as
`forward`, or a hook, would be code.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from functools import cache

from torch import nn

from convlast.checkpoints.guard.outlines import TENSOR, Dict, Global, Instance, List

_EXCLUDED = {
    "Container",  # deprecated; a Module with another name
    # Their attributes hold hooks until they have seen an input.
    *(name for name in nn.modules.__all__ if name.startswith("Lazy")),
    # These look up, by names from the file, what they then hold.
    "RNNBase",
    "RNN",
    "LSTM",
    "GRU",
    # Their activation is a function.
    *(name for name in nn.modules.__all__ if name.startswith("Transformer")),
}
"""Classes of `torch.nn.modules` that are not read from a pickle, and why."""

_MORE = {
    "AdaptiveLogSoftmaxWithLoss": {"head_size", "n_clusters", "shortlist_size"},
    "MultiheadAttention": {"_qkv_same_embed_dim", "embed_dim", "head_dim", "num_heads"},
    "ParameterDict": {"_keys"},
    "ParameterList": {"_size"},
}
"""Attributes that a class has and does not announce."""

_TENSORS = {"_parameters", "_buffers"}
_MODULES = "_modules"
_NOT_A_HOOK = "_is_full_backward_hook"


@cache
def classes() -> dict[str, type[nn.Module]]:
    """Return the classes that are known, by the names that pickles have for them."""
    names = [name for name in nn.modules.__all__ if name not in _EXCLUDED]
    known = [getattr(nn.modules, name) for name in names]
    more = [nn.DataParallel, nn.modules.linear.NonDynamicallyQuantizableLinear]  # in attention
    return {
        f"{found.__module__}.{found.__qualname__}": found
        for found in (*known, *more)
        if issubclass(found, nn.Module)
    }


@cache
def attributes_of(name: str) -> frozenset[str]:
    """Return the attributes that an object of a class may be given.

    They are what PyTorch announces: annotations, `__constants__`, and what constructors take.
    None of them stands in for what the class itself has.

    >>> "kernel_size" in attributes_of("torch.nn.modules.conv.Conv3d")
    True
    >>> "forward" in attributes_of("torch.nn.modules.conv.Conv3d")
    False
    """
    found = classes()[name]
    announced = set(_MORE.get(found.__name__, ()))
    for base in found.__mro__[:-1]:
        announced.update(inspect.get_annotations(base), vars(base).get("__constants__", ()))
        announced.update(inspect.signature(base).parameters)
    return frozenset(
        attribute
        for attribute in announced
        if not attribute.startswith("__") and not hasattr(found, attribute)
    )


def misuses_of(instances: Iterable[Instance]) -> Iterator[tuple[str, str]]:
    """Yield the class of each object that is given what it must not be, and what that is.

    A value that many of them share is looked through once.
    """
    looking = _Looking()
    for instance in instances:
        for state in instance.states:
            for misuse in looking.misuses_by(instance.name, state):
                yield instance.name, misuse


class _Looking:
    """What has been looked through so far."""

    def __init__(self) -> None:
        self._data: set[int] = set()
        self._held: set[tuple[int, str]] = set()

    def misuses_by(self, name: str, state: object) -> Iterator[str]:
        """Say what is wrong with a state that an object of a class is given."""
        if not isinstance(state, Dict):
            yield "a state that is no dict"
            return
        known = attributes_of(name)
        for attribute, value in state.pairs:
            if not isinstance(attribute, str) or not (
                attribute in known or _is_element(name, attribute)
            ):
                yield f"the attribute {attribute!r:.80}"
            elif not self._fits(attribute, value):
                yield f"more than data as {attribute!r}"

    def _fits(self, attribute: str, value: object) -> bool:
        """Say whether an attribute holds what it should."""
        if attribute == _MODULES:
            return self._holds(value, "modules")
        if attribute in _TENSORS:
            return self._holds(value, "tensors")
        if "_hook" in attribute and attribute != _NOT_A_HOOK:
            return isinstance(value, Dict) and not value.pairs
        # Neither a name, nor an object of a class, is anywhere in it.
        return next(found_in([value], (Global, Instance), self._data), None) is None

    def _holds(self, value: object, what: str) -> bool:
        """Say whether a dict has names for keys, and only what is right behind them."""
        if not isinstance(value, Dict):
            return False
        if (id(value), what) in self._held:
            return True
        self._held.add((id(value), what))
        return all(
            isinstance(key, str)
            and (
                held is None
                or (isinstance(held, Instance) if what == "modules" else held is TENSOR)
            )
            for key, held in value.pairs
        )


def _is_element(name: str, attribute: str) -> bool:
    """Say whether this is an element of a list, which has them as attributes 0, 1, 2 ..."""
    return name.endswith(".ParameterList") and attribute.isdecimal()


_PLAIN = frozenset({bool, bytes, float, int, str, type(None)})
"""Values that hold none, and are never looked for: most of those in a file."""


def found_in(
    values: Iterable[object], kinds: tuple[type, ...], seen: set[int] | None = None
) -> Iterator[object]:
    """Yield what is of certain kinds in values, and in what they hold; each object once.

    Args:
        values: Where to look.
        kinds: What is looked for.
        seen: The ids of what was looked through before, which is left out; these are added.
    """
    seen = set() if seen is None else seen
    waiting = list(values)
    while waiting:
        value = waiting.pop()
        if value.__class__ in _PLAIN or (identity := id(value)) in seen:
            continue
        seen.add(identity)
        if isinstance(value, kinds):
            yield value
        if isinstance(value, tuple):
            waiting.extend(value)
        elif isinstance(value, List):
            waiting.extend(value.items)
        elif isinstance(value, Dict):
            for pair in value.pairs:
                waiting.extend(pair)
