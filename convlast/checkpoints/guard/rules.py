"""The table of names that a pickle may ask for, and of what it may do with each.

torch's unpickler knows some 150 names, and calls them with any arguments that a file has.
`bytearray(10**9)` allocates a gigabyte, and the codec `punycode` takes quadratic time. So each name
that may be called has a rule here for its arguments: only those that torch.save writes in
protocol 2, in any version since PyTorch 0.1, are allowed. A name without a rule is refused.

A rule returns the outline of the call's result; for other arguments it returns a `Misuse`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import NamedTuple

import torch

from convlast.checkpoints.guard import modules, numpy_values, plain_values, records
from convlast.checkpoints.guard.outlines import (
    OPAQUE,
    UNKNOWN,
    Bytes,
    Dict,
    Global,
    Instance,
    List,
    Misuse,
    Record,
    Set,
)
from convlast.checkpoints.guard.rebuilding import (
    PARAMETER,
    REBUILDING,
    Arguments,
    Judge,
    empty_tensor,
    parameter,
    rebuild_from_type,
)
from convlast.checkpoints.guard.storages import ITEM_BYTES


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
        **{f"torch._utils.{name}": Rule(judge) for name, judge in REBUILDING.items()},
        **dict.fromkeys(UNSUPPORTED, named),
        **_OTHERS,
        **{name: Rule(make=_module(name)) for name in modules.classes()},
        **{name: Rule(_record(name), _record(name)) for name in records.CLASSES},
        **{name: Rule(judge) for name, (_, judge) in plain_values.table().items()},
        plain_values.VERSION: Rule(make=plain_values.version),
        **{name: Rule(numpy_values.scalar) for name in numpy_values.SCALAR},
        **{name: Rule(numpy_values.empty_array) for name in numpy_values.RECONSTRUCT},
        numpy_values.ARRAY: named,
        numpy_values.DTYPE: Rule(numpy_values.dtype),
    }


def is_constant(found: Global) -> bool:
    """Return whether a name is never called: a dtype, say.

    >>> is_constant(Global("torch", "float16")), is_constant(Global("torch", "device"))
    (True, False)
    """
    return str(found) in _constant_names()


@cache
def _constant_names() -> frozenset[str]:
    return frozenset(_constants())


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
            # Other characters than latin1 has let torch refuse the file.
            return Bytes(len(text), text[:10].encode("latin1", "replace"))
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


def _record(name: str) -> Judge:
    """Return the judge for a class of records: its objects are made without arguments."""
    return lambda arguments: Record(name) if arguments == () else Misuse("is made with arguments")


def _module(name: str) -> Judge:
    """Return the judge for a class of `torch.nn`: its objects are made without arguments."""
    return lambda arguments: Instance(name) if arguments == () else Misuse("is made with arguments")


_TENSORS = Rule(empty_tensor, empty_tensor)

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
    "torch._tensor._rebuild_from_type_v2": Rule(rebuild_from_type),
    PARAMETER: Rule(parameter, parameter),
}
