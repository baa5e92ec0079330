"""Objects of checkpoints, compared in all but their tensors' data: types, keys, order, leaves."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from decimal import Decimal
from pathlib import PurePath
from typing import Any, TypeAlias
from uuid import UUID

import torch
from torch import nn
from torch.torch_version import TorchVersion

from convlast.checkpoints.guard import records
from convlast.checkpoints.tree import KeyPath

Differ: TypeAlias = Callable[[KeyPath, str], None]
"""Told where two objects differ, and how."""


_SHOWN_WHOLE = (
    *(float, complex, Decimal),  # NaN is NaN, and -0.0 is not 0.0
    *(datetime.date, datetime.time, datetime.tzinfo),  # one moment can be written in many zones
    *(range, slice),  # range(0) equals range(1, 1), and slice(1) slice(True)
)
"""Classes whose objects can be equal and not the same, but are shown by `repr` as what they are."""


def compare_objects(old: object, new: object, differ: Differ) -> None:
    """Compare two objects and what is in them, each pair of them once.

    >>> compare_objects({"lr": 1}, {"lr": True}, lambda path, how: print(path, how))
    ('lr',) int became bool.
    """
    _compare(old, new, (), differ, set())


def _compare(
    old: object, new: object, path: KeyPath, differ: Differ, seen: set[tuple[int, int]]
) -> None:
    if type(old) is not type(new):
        differ(path, f"{type(old).__name__} became {type(new).__name__}.")
        return
    # Before anything in it is looked at: it may stand in many places, and have many parts.
    if (id(old), id(new)) in seen or (_is_data_alone(old) and _is_data_alone(new)):
        return
    if not isinstance(old, int | float | None):
        seen.add((id(old), id(new)))
    left, right = _parts(old), _parts(new)
    if left is None or right is None:
        if _exact(old) != _exact(new):
            differ(path, "The value changed.")
    elif not _are_same_keys(list(left), list(right)):
        differ(path, "The keys, their number, or their order changed.")
    else:
        for key in left:
            _compare(left[key], right[key], (*path, key), differ, seen)
        inside = (*path, "__dict__")
        _compare(_attributes(old), _attributes(new), inside, differ, seen)


def _is_data_alone(value: object) -> bool:
    """Say whether this is a storage, or a tensor without Python attributes."""
    if isinstance(value, torch.Tensor):
        return not _attributes(value)
    return isinstance(value, torch.UntypedStorage | torch.storage.TypedStorage)


def _parts(value: object) -> dict[object, object] | None:
    """Return what a container holds, by key or index; None for anything else.

    A tensor's own data is none of it; the Python attributes that it can have are looked at.
    """
    if isinstance(value, torch.Tensor):
        return {}
    if isinstance(value, dict):
        return value
    if isinstance(value, (nn.Module, *records.HOLDERS)):
        return {}  # they have attributes only
    return dict(enumerate(value)) if isinstance(value, list | tuple) else None


def _attributes(value: object) -> object:
    return getattr(value, "__dict__", None) or None


def _are_same_keys(left: list[object], right: list[object]) -> bool:
    types = [*map(type, left)]
    if left != right or types != [*map(type, right)]:
        return False
    # Nearly always; only of others can two be equal and not the same.
    return {str, int}.issuperset(types) or [*map(_exact, left)] == [*map(_exact, right)]


def _exact(value: object) -> object:
    """Return what equals that of the same value of the same type alone.

    >>> _exact(1) == _exact(True), _exact((0.0,)) == _exact((-0.0,))
    (False, False)
    """
    if isinstance(value, tuple):
        return type(value), tuple(map(_exact, value))
    if isinstance(value, set | frozenset):
        return type(value), frozenset(map(_exact, value))
    if isinstance(value, TorchVersion):
        return type(value), str(value)  # "2.0" equals "2.0.0", and is another text
    if hasattr(type(value), "tobytes"):  # a number or an array of NumPy's, but not its class
        items: Any = value
        order = items.flags.c_contiguous, items.flags.f_contiguous
        return type(value), str(items.dtype), items.shape, order, items.tobytes()
    if isinstance(value, _SHOWN_WHOLE):
        return type(value), repr(value)
    if isinstance(value, PurePath):  # those of Windows ignore case
        return type(value), value.parts
    if isinstance(value, UUID):
        return type(value), repr(value.int), value.is_safe
    return type(value), value
