"""Modules of `torch.nn` in a pickle: which classes are known, and with which attributes.

A pickled module is made without arguments (NEWOBJ), and then given its attributes (BUILD). So no
constructor runs, which could make a tensor of any size. Only the attributes of PyTorch's own class
are allowed, and they must be data: an attribute that hides a method, such as `forward`, or a hook,
would be code.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from functools import cache

from torch import nn

from convlast.checkpoints.guard.outlines import TENSOR, Dict, Global, Instance, List, Set

_EXCLUDED = {
    "Container",  # deprecated: a Module by another name
    # They have hooks until their first input.
    *(name for name in nn.modules.__all__ if name.startswith("Lazy")),
    # They look up attributes by names from the file.
    "RNNBase",
    "RNN",
    "LSTM",
    "GRU",
    # They have a function as an attribute, their activation.
    *(name for name in nn.modules.__all__ if name.startswith("Transformer")),
}
"""Classes of `torch.nn.modules` that are refused in a pickle, and why."""

_MORE = {
    "AdaptiveLogSoftmaxWithLoss": {"head_size", "n_clusters", "shortlist_size"},
    "MultiheadAttention": {"_qkv_same_embed_dim", "embed_dim", "head_dim", "num_heads"},
    "ParameterDict": {"_keys"},
    "ParameterList": {"_size"},
}
"""Attributes of a class that cannot be found by inspecting it."""

_TENSORS = {"_parameters", "_buffers"}
_MODULES = "_modules"
_NOT_A_HOOK = "_is_full_backward_hook"


@cache
def classes() -> dict[str, type[nn.Module]]:
    """Return the known classes, by their names in pickles."""
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

    They are the class's annotations, its `__constants__`, and its constructors' parameters, but
    none that would hide an attribute of the class itself.

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
    """Yield the class of each object that has a forbidden attribute or state, and what that is.

    A value that objects share is searched once.
    """
    looking = _Looking()
    for instance in instances:
        for state in instance.states:
            for misuse in looking.misuses_by(instance.name, state):
                yield instance.name, misuse


class _Looking:
    """Checks states, and remembers the values that it has searched."""

    def __init__(self) -> None:
        self._data: set[int] = set()
        self._held: set[tuple[int, str]] = set()

    def misuses_by(self, name: str, state: object) -> Iterator[str]:
        """Say what is wrong with a state that an object of a class is given."""
        if not isinstance(state, Dict):
            yield "a state that is not a dict"
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
        """Say whether an attribute has a value of the right kind."""
        if attribute == _MODULES:
            return self._holds(value, "modules")
        if attribute in _TENSORS:
            return self._holds(value, "tensors")
        if "_hook" in attribute and attribute != _NOT_A_HOOK:
            return isinstance(value, Dict) and not value.pairs
        # It must not contain a global name or an object of a class anywhere.
        return next(found_in([value], (Global, Instance), self._data), None) is None

    def _holds(self, value: object, what: str) -> bool:
        """Say whether a value is a dict from strings to values of this kind, or None."""
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
    """Say whether this is an element of a ParameterList, whose attributes are 0, 1, 2 ..."""
    return name.endswith(".ParameterList") and attribute.isdecimal()


_PLAIN = frozenset({bool, bytes, float, int, str, type(None)})
"""Classes that contain no other values and are never searched for: most values in a file."""


def found_in(
    values: Iterable[object], kinds: tuple[type, ...], seen: set[int] | None = None
) -> Iterator[object]:
    """Yield the objects of certain kinds among values, and inside them; each object once.

    Args:
        values: The values to search.
        kinds: The classes to search for.
        seen: The ids of objects that were searched before, which are skipped; new ones are added.
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
        elif isinstance(value, List | Set):
            waiting.extend(value.items)
        elif isinstance(value, Dict):
            for pair in value.pairs:
                waiting.extend(pair)
