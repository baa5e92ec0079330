"""The calls that make tensors: which arguments torch.save writes for each.

The table in `rules` has the other names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch

from convlast.checkpoints.guard.extents import refuse_extents
from convlast.checkpoints.guard.outlines import STORAGE, TENSOR, UNKNOWN, Dict, Global
from convlast.checkpoints.guard.states import misuse_by_attributes

Arguments: TypeAlias = tuple[object, ...]

Judge: TypeAlias = Callable[[Arguments], object]
"""Returns the outline of a call's result, or a `Misuse`."""

PARAMETER = "torch.nn.parameter.Parameter"


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


REBUILDING: dict[str, Judge] = {
    "_rebuild_tensor": _rebuild_tensor,
    "_rebuild_tensor_v2": _rebuild_tensor_v2,
    "_rebuild_tensor_v3": _rebuild_tensor_v3,
    "_rebuild_meta_tensor_no_storage": _rebuild_meta,
    "_rebuild_parameter": _rebuild_parameter,
    "_rebuild_parameter_with_state": _rebuild_parameter_with_state,
}
"""The judges of functions in `torch._utils`, by the functions' names."""


def rebuild_from_type(arguments: Arguments) -> object:
    """Judge a function that calls one of the others, which is among its arguments."""
    match arguments:
        case (Global(module="torch._utils", name=name), Global() as kind, inner, state) if (
            isinstance(inner, tuple)
            and name in REBUILDING
            and str(kind) in {"torch.Tensor", PARAMETER}
        ):
            return misuse_by_attributes(state) or REBUILDING[name](inner)
    return UNKNOWN


def parameter(arguments: Arguments) -> object:
    """Judge the call of a parameter's class."""
    match arguments:
        case () | (_,) | (_, bool()):
            return TENSOR if all(part is TENSOR for part in arguments[:1]) else UNKNOWN
    return UNKNOWN


def empty_tensor(arguments: Arguments) -> object:
    """Judge the call of a tensor's class, which PyTorch 0.1 made empty first."""
    return TENSOR if arguments == () else UNKNOWN
