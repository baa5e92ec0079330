"""The tensors among an operator's operands and results, and the memory that they use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in nested tuples, lists and dicts."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for part in value:
            yield from tensors_in(part)
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from tensors_in(part)


def written_operands(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Iterator[Tensor]:
    """Yield the operands that an operator writes to."""
    written = {a.name for a in func._schema.arguments if a.alias_info and a.alias_info.is_write}
    names = (argument.name for argument in func._schema.arguments)
    for name, value in (*zip(names, args, strict=False), *kwargs.items()):
        if name in written:
            yield from tensors_in(value)


def address_of(tensor: Tensor) -> int:
    """Return the address of a tensor's storage, which its views share; 0 if it has none.

    >>> tensor = torch.zeros(2, 2)
    >>> address_of(tensor) == address_of(tensor[1])
    True
    """
    return tensor.untyped_storage().data_ptr() if tensor.layout == torch.strided else 0
