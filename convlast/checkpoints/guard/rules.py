"""The table of names that a pickle may ask for, and of what it may do with each.

torch's unpickler knows some 150 names, and calls them with any arguments that a file has.
`bytearray(10**9)` allocates a gigabyte, and the codec `punycode` takes quadratic time. So each name
that may be called has a rule here for its arguments: only those that torch.save writes in
protocol 2, in any version since PyTorch 0.1, are allowed. A name without a rule is refused.

A rule returns the outline of the call's result; for other arguments it returns a `Misuse`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import NamedTuple, TypeAlias

import torch

from convlast.checkpoints.guard import modules, numpy_scalars
from convlast.checkpoints.guard.extents import refuse_extents
from convlast.checkpoints.guard.outlines import (
    OPAQUE,
    STORAGE,
    TENSOR,
    UNKNOWN,
    Bytes,
    Dict,
    Global,
    Instance,
    List,
    Misuse,
    Set,
)
from convlast.checkpoints.guard.states import misuse_by_attributes
from convlast.checkpoints.guard.storages import ITEM_BYTES

Arguments: TypeAlias = tuple[object, ...]

Judge: TypeAlias = Callable[[Arguments], object]
"""Returns the outline of a call's result, or a `Misuse`."""


class Rule(NamedTuple):
    """What a pickle may do with a name, besides referring to it."""

    call: Judge = lambda _arguments: Misuse("is called")
    """For REDUCE, which calls a function."""
    make: Judge = lambda _arguments: Misuse("is called")
    """For NEWOBJ, which makes an object of a class."""


def rule_of(name: str) -> Rule | None:
    """Return the rule for a name; None if there is none.

    >>> rule_of("collections.Counter") is None, rule_of("os.system") is None
    (False, True)
    """
    return table().get(name)


@cache
def table() -> Mapping[str, Rule]:
    """Return all rules, by the names in pickles."""
    named = Rule()
    return {
        **dict.fromkeys(_constants(), named),
        **{f"torch.{kind}Tensor": _TENSORS for kind in _KINDS},
        **{f"torch.cuda.{kind}Tensor": _TENSORS for kind in _KINDS},
        **{f"torch._utils.{name}": Rule(judge) for name, judge in _REBUILDING.items()},
        **dict.fromkeys(UNSUPPORTED, named),
        **_OTHERS,
        **{name: Rule(make=_module(name)) for name in modules.classes()},
        **{name: Rule(numpy_scalars.scalar) for name in numpy_scalars.SCALAR},
        numpy_scalars.DTYPE: Rule(numpy_scalars.dtype),
    }


UNSUPPORTED = {
    "torch._utils._rebuild_qtensor": "a quantized tensor",
    "torch._utils._rebuild_sparse_tensor": "a sparse tensor",
    "torch._utils._rebuild_nested_tensor": "a nested tensor",
    "torch._utils._rebuild_wrapper_subclass": "a tensor of a subclass that wraps others",
    "torch._utils._rebuild_device_tensor_from_numpy": "a tensor kept as a NumPy array",
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": "a tensor of an unusual device",
    "torch.nested._internal.nested_tensor._rebuild_njt": "a nested tensor",
}
"""Functions that make tensors that cannot be kept exactly: the error names the kind of tensor."""

_KINDS = ("BFloat16", "Bool", "Byte", "Char", "Double", "Float", "Half", "Int", "Long", "Short")


def _constants() -> Iterable[str]:
    """Yield the names that are never called: dtypes, quantization schemes, storage classes."""
    for name, value in vars(torch).items():
        if isinstance(value, torch.dtype | torch.qscheme) and str(value) == f"torch.{name}":
            yield str(value)
    for name in ITEM_BYTES:
        yield from (f"torch.{name}", f"torch.cuda.{name}")
    yield from ("torch.storage.TypedStorage", "torch.storage.UntypedStorage")


def _is_dtype(value: object) -> bool:
    return (
        isinstance(value, Global)
        and value.module == "torch"
        and isinstance(getattr(torch, value.name, None), torch.dtype)
    )


def _rebuild_tensor(arguments: Arguments) -> object:
    match arguments:
        case (storage, offset, tuple() as shape, tuple() as stride) if storage is STORAGE:
            refuse_extents(shape, stride, offset)
            return TENSOR
    return UNKNOWN


def _rebuild_tensor_v2(arguments: Arguments) -> object:
    # The hooks are checked later, when the tensor's name is known.
    match arguments:
        case (storage, offset, shape, stride, bool(), _hooks, *more) if _are_bits(more):
            return _rebuild_tensor((storage, offset, shape, stride))
    return UNKNOWN


def _rebuild_tensor_v3(arguments: Arguments) -> object:
    match arguments:
        case (storage, offset, shape, stride, bool(), _hooks, dtype, *more) if _is_dtype(
            dtype
        ) and _are_bits(more):
            return _rebuild_tensor((storage, offset, shape, stride))
    return UNKNOWN


def _are_bits(more: list[object]) -> bool:
    """Say whether this is empty, or has only torch's bits for conjugation and negation."""
    match more:
        case []:
            return True
        case [Dict(pairs=pairs)]:
            return all(key in ("conj", "neg") and isinstance(bit, bool) for key, bit in pairs)
    return False


def _rebuild_meta(arguments: Arguments) -> object:
    match arguments:
        case (dtype, tuple() as shape, tuple() as stride, bool()) if _is_dtype(dtype):
            refuse_extents(shape, stride, 0)
            return TENSOR
    return UNKNOWN


def _rebuild_parameter(arguments: Arguments) -> object:
    match arguments:
        case (tensor, bool(), _hooks) if tensor is TENSOR:
            return TENSOR
    return UNKNOWN


def _rebuild_parameter_with_state(arguments: Arguments) -> object:
    match arguments:
        case (tensor, bool(), _hooks, state) if tensor is TENSOR:
            return misuse_by_attributes(state) or TENSOR
    return UNKNOWN


_REBUILDING: dict[str, Judge] = {
    "_rebuild_tensor": _rebuild_tensor,
    "_rebuild_tensor_v2": _rebuild_tensor_v2,
    "_rebuild_tensor_v3": _rebuild_tensor_v3,
    "_rebuild_meta_tensor_no_storage": _rebuild_meta,
    "_rebuild_parameter": _rebuild_parameter,
    "_rebuild_parameter_with_state": _rebuild_parameter_with_state,
}
"""The judges of functions in `torch._utils`, by the functions' names."""


def _rebuild_from_type(arguments: Arguments) -> object:
    """Judge a function that calls one of the others, which is among its arguments."""
    match arguments:
        case (Global(module="torch._utils", name=name), Global() as kind, inner, state) if (
            isinstance(inner, tuple)
            and name in _REBUILDING
            and str(kind) in {"torch.Tensor", _PARAMETER}
        ):
            return misuse_by_attributes(state) or _REBUILDING[name](inner)
    return UNKNOWN


def _parameter(arguments: Arguments) -> object:
    match arguments:
        case () | (_,) | (_, bool()):
            return TENSOR if all(part is TENSOR for part in arguments[:1]) else UNKNOWN
    return UNKNOWN


def _empty_tensor(arguments: Arguments) -> object:
    return TENSOR if arguments == () else UNKNOWN


def _ordered_dict(arguments: Arguments) -> object:
    """Python 2 passed all pairs to the call, as lists; Python 3 adds them afterwards."""
    match arguments:
        case ():
            return Dict()
        case (List(items=items),):
            pairs = [pair.items for pair in items if isinstance(pair, List)]
            if len(pairs) == len(items) and all(len(pair) == 2 for pair in pairs):
                return Dict([(pair[0], pair[1]) for pair in pairs])
    return UNKNOWN


def _bytes(arguments: Arguments) -> object:
    match arguments:
        case (str() as text, "latin1"):
            return Bytes(len(text))
    return UNKNOWN


def _bytearray(arguments: Arguments) -> object:
    match arguments:
        case () | (Bytes(),) | (str(), "latin-1"):
            return OPAQUE
    return UNKNOWN


def _set(arguments: Arguments) -> object:
    match arguments:
        case (List(items=items),):
            return Set(items)
    return UNKNOWN


def _counter(arguments: Arguments) -> object:
    match arguments:
        case (Dict(),):
            return OPAQUE
    return UNKNOWN


def _complex(arguments: Arguments) -> object:
    match arguments:
        case (int() | float(), int() | float()):
            return OPAQUE
    return UNKNOWN


def _size(arguments: Arguments) -> object:
    match arguments:
        case (tuple() as extents,) if all(type(extent) is int for extent in extents):
            return OPAQUE
    return UNKNOWN


def _device(arguments: Arguments) -> object:
    match arguments:
        case (str(),) | (str(), int()):
            return OPAQUE
    return UNKNOWN


def _layout(arguments: Arguments) -> object:
    match arguments:
        case (str(),):
            return OPAQUE
    return UNKNOWN


def _module(name: str) -> Judge:
    """Return the judge for a class of `torch.nn`: its objects are made without arguments."""
    return lambda arguments: Instance(name) if arguments == () else Misuse("is made with arguments")


_TENSORS = Rule(_empty_tensor, _empty_tensor)
_PARAMETER = "torch.nn.parameter.Parameter"

_OTHERS = {
    "_codecs.encode": Rule(_bytes),
    "__builtin__.bytearray": Rule(_bytearray),
    "__builtin__.complex": Rule(_complex),
    "__builtin__.set": Rule(_set),
    "builtins.bytearray": Rule(_bytearray),
    "builtins.complex": Rule(_complex),
    "builtins.set": Rule(_set),
    "collections.Counter": Rule(_counter),
    "collections.OrderedDict": Rule(_ordered_dict),
    "torch.Size": Rule(_size),
    "torch.Tensor": _TENSORS,
    "torch.device": Rule(_device),
    "torch.serialization._get_layout": Rule(_layout),
    "torch._tensor._rebuild_from_type_v2": Rule(_rebuild_from_type),
    _PARAMETER: Rule(_parameter, _parameter),
}
