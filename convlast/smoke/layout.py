"""The memory format of an activation, as the next operator will see it.

`is_contiguous` ignores the stride of an extent of one, and may be true for both formats at once,
while PyTorch chooses kernels by the strides. So the strides are compared first; `is_contiguous` is
called only if they are exactly those of neither format.
"""

from __future__ import annotations

from functools import lru_cache
from typing import get_args

import torch
from torch import Tensor

from convlast.layout.memory_format import strides_of
from convlast.options import MemoryFormat

NAMES: tuple[MemoryFormat, ...] = get_args(MemoryFormat)
_FORMATS = {name: getattr(torch, name) for name in NAMES}


def memory_format_of(activation: Tensor) -> str:
    """Name the memory format of an activation.

    Args:
        activation: (N, C, D, H, W)

    Returns:
        `channels_last_3d`, `contiguous_format`, `both` if the strides fit both formats, or
        `strided` if they fit neither.

    >>> memory_format_of(torch.zeros(2, 8, 4, 4, 4))
    'contiguous_format'
    >>> memory_format_of(torch.zeros(2, 1, 4, 4, 4).to(memory_format=torch.channels_last_3d))
    'channels_last_3d'
    """
    shape = activation.shape
    names = [name for name in NAMES if activation.stride() == strides_of(shape, name)]
    if not names:
        names = [name for name in NAMES if activation.is_contiguous(memory_format=_FORMATS[name])]
    if len(names) == len(NAMES):
        return "both"
    return names[0] if names else "strided"


def order_of(activation: Tensor) -> str:
    """Name the order of an activation's elements in memory, to tell whether a copy permutes them.

    Unlike `memory_format_of` it returns `both` if a copy into either format keeps the order of the
    elements, and it ignores gaps: a slice of a channels-last tensor is channels-last.

    Args:
        activation: (N, C, D, H, W)

    >>> order_of(torch.zeros(2, 8, 1, 1, 1))
    'both'
    >>> order_of(torch.zeros(2, 8, 4, 4, 4).to(memory_format=torch.channels_last_3d)[:, :4])
    'channels_last_3d'
    """
    return _order(tuple(activation.shape), activation.stride())


@lru_cache(maxsize=4096)
def _order(shape: tuple[int, ...], strides: tuple[int, ...]) -> str:
    likeness = torch.empty_strided(shape, strides, device="meta")
    names = [name for name in NAMES if likeness.is_contiguous(memory_format=_FORMATS[name])]
    if len(names) == len(NAMES):
        return "both"
    if names:
        return names[0]
    inner = [stride for stride, extent in zip(strides[2:], shape[2:], strict=True) if extent > 1]
    if shape[1] == 1 or not inner:
        return "both"
    if strides[1] < min(inner):
        return "channels_last_3d"
    return "contiguous_format" if strides[1] > max(inner) else "strided"
