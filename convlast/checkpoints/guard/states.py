"""The states that a pickle may give to objects: what BUILD does, and calls that do the same.

torch's unpickler sets any attribute. One that has the name of a method hides it: `items` of an
OrderedDict, or `detach` of a tensor, and whoever calls the method afterwards calls what the file
says. So what the class has cannot be given, nor a name of Python's own.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from convlast.checkpoints.guard import numpy_scalars
from convlast.checkpoints.guard.extents import refuse_extents
from convlast.checkpoints.guard.outlines import STORAGE, TENSOR, Dict, Instance, Misuse, NumberType

_NO_DICT = Misuse("is given a state that is no dict")


def misuse_by_state(target: object, state: object) -> tuple[str, Misuse | None]:
    """Return what it is that is given a state, and what is wrong with that; None if nothing is.

    What an object of `torch.nn` is given is judged elsewhere, in the end.
    """
    if isinstance(target, Instance):
        return target.name, None
    if isinstance(target, NumberType):
        return numpy_scalars.DTYPE, numpy_scalars.misuse_by_state(state)
    if isinstance(target, Dict):
        return "collections.OrderedDict", _misuse_of_state_dict(state)
    if target is TENSOR:
        return "torch.Tensor", _misuse_of_old_tensor(state)
    return "a value", Misuse("is given attributes")


def misuse_by_attributes(state: object) -> Misuse | None:
    """Say what is wrong with the attributes that a tensor is given; None if nothing is.

    They are a dict, or one for `__dict__` and one for `__slots__`.
    """
    for part in state if isinstance(state, tuple) and len(state) == 2 else (state,):
        if isinstance(part, Dict):
            if (hidden := _hidden(nn.Parameter, part)) is not None:
                return hidden
        elif part is not None:
            return _NO_DICT
    return None


def hides(owner: type, name: object) -> bool:
    """Say whether an attribute would hide what a class has, or is no name for one.

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
        return Misuse("is given a _metadata that is no dict")
    return _hidden(OrderedDict, state)


def _misuse_of_old_tensor(state: object) -> Misuse | None:
    """Judge what PyTorch has written until 0.3, for a tensor, a parameter, and an earlier one."""
    match state:
        case (storage, offset, tuple() as shape, tuple() as stride) if storage is STORAGE:
            refuse_extents(shape, stride, offset)
            return None
        case (bool(), _volatile, _hooks):
            return None
        case (tensor, _grad, _hooks, bool(), _volatile) if tensor is TENSOR:
            return None
    return Misuse("is given a state that torch.save does not write")
