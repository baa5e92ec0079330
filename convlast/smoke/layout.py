"""The memory format of an activation, as the next operator will see it.

Where an extent is one, `is_contiguous` ignores that extent's stride and may hold for both formats
at once, while kernels are chosen by the strides: so these are compared first, and `is_contiguous`
is asked only where they are neither format's own.
"""

from __future__ import annotations

from typing import get_args

import torch
from torch import Tensor

from convlast.memory_format import strides_of
from convlast.options import MemoryFormat

NAMES: tuple[MemoryFormat, ...] = get_args(MemoryFormat)


def memory_format_of(activation: Tensor) -> str:
    """Name the memory format of an activation.

    Args:
        activation: (N, C, D, H, W)

    Returns:
        `channels_last_3d`, `contiguous_format`, `both` where the strides cannot tell, or
        `strided` where they are neither.

    >>> memory_format_of(torch.zeros(2, 8, 4, 4, 4))
    'contiguous_format'
    >>> memory_format_of(torch.zeros(2, 1, 4, 4, 4).to(memory_format=torch.channels_last_3d))
    'channels_last_3d'
    """
    shape = activation.shape
    names = [name for name in NAMES if activation.stride() == strides_of(shape, name)]
    if not names:
        names = [
            name for name in NAMES if activation.is_contiguous(memory_format=getattr(torch, name))
        ]
    if len(names) == len(NAMES):
        return "both"
    return names[0] if names else "strided"
