"""The states that a pickle may give to objects, by BUILD or by calls that do the same.

torch's unpickler sets any attribute. An attribute with the name of a method hides the method, such
as `items` of an OrderedDict or `detach` of a tensor: a later call of the method would then call an
object from the file. So an attribute that the class already has is refused, and so is a name that
begins with two underscores.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from convlast.checkpoints.guard import numpy_values
from convlast.checkpoints.guard.extents import refuse_extents
from convlast.checkpoints.guard.outlines import (
    STORAGE,
    TENSOR,
    Array,
    Dict,
    Instance,
    Misuse,
    PlainType,
    Record,
)

_NO_DICT = Misuse("is given a state that is not a dict")


def misuse_by_state(target: object, state: object) -> tuple[str, Misuse | None]:
    """Return the name of an object that is given a state, and what is wrong with that, or None.

    The states of `torch.nn` objects and of records are judged elsewhere, after the whole pickle
    was read.
    """
    if isinstance(target, Instance | Record):
        return target.name, None
    if isinstance(target, PlainType):
        return numpy_values.DTYPE, numpy_values.misuse_by_type_state(target, state)
    if isinstance(target, Array):
        return numpy_values.ARRAY, numpy_values.misuse_by_array_state(state)
    if isinstance(target, Dict):
        return "collections.OrderedDict", _misuse_of_state_dict(state)
    if target is TENSOR:
        return "torch.Tensor", _misuse_of_old_tensor(state)
    return "a value", Misuse("is given attributes")


def misuse_by_attributes(state: object) -> Misuse | None:
    """Say what is wrong with the attributes that a tensor is given; None if nothing is.

    They are a dict, or a pair of dicts for `__dict__` and `__slots__`.
    """
    for part in state if isinstance(state, tuple) and len(state) == 2 else (state,):
        if isinstance(part, Dict):
            if (hidden := _hidden(nn.Parameter, part)) is not None:
                return hidden
        elif part is not None:
            return _NO_DICT
    return None


def hides(owner: type, name: object) -> bool:
    """Say whether an attribute would hide one of the class, or has no valid name.

    >>> hides(OrderedDict, "items"), hides(OrderedDict, "_metadata")
    (True, False)
    """
    return not isinstance(name, str) or name.startswith("__") or hasattr(owner, name)


def _hidden(owner: type, state: Dict) -> Misuse | None:
    for name, _ in state.pairs:
        if hides(owner, name):
            return Misuse(f"is given the attribute {name!r:.80}")
    return None


def _misuse_of_state_dict(state: object) -> Misuse | None:
    if not isinstance(state, Dict):
        return _NO_DICT
    if any(name == "_metadata" and not isinstance(held, Dict) for name, held in state.pairs):
        return Misuse("is given a _metadata that is not a dict")
    return _hidden(OrderedDict, state)


def _misuse_of_old_tensor(state: object) -> Misuse | None:
    """Judge a state as PyTorch wrote it until 0.3: a tensor's, a parameter's, or an older one's."""
    match state:
        case (storage, offset, tuple() as shape, tuple() as stride) if storage is STORAGE:
            refuse_extents(shape, stride, offset)
            return None
        case (bool(), _volatile, _hooks):
            return None
        case (tensor, _grad, _hooks, bool(), _volatile) if tensor is TENSOR:
            return None
    return Misuse("is given a state that torch.save does not write")
