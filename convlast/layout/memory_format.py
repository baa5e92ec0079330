"""The layout itself: exact strides, and PyTorch's conversion of a module.

A 5-D weight has the shape (O, I, D, H, W) in any layout; the layout is its strides, in elements.
Contiguous means that W is innermost, channels_last_3d that I is:

    contiguous_format   (I·D·H·W, D·H·W, H·W, W, 1)
    channels_last_3d    (I·D·H·W, 1, I·H·W, I·W, I)

This is defined only here. A weight's layout is told by its strides, never by `is_contiguous`: with
a 1×1×1 kernel, or one input channel, a weight is contiguous in both layouts at once, but PyTorch's
function still changes its strides, and cuDNN chooses a kernel by the strides.

Source: https://github.com/pytorch/pytorch/blob/v2.13.0/torch/nn/utils/memory_format.py
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias, TypeVar

import torch
from torch import nn

from convlast.options import MemoryFormat

ModuleT = TypeVar("ModuleT", bound=nn.Module)

Geometry: TypeAlias = tuple[torch.dtype, tuple[int, ...], tuple[int, ...], int]
"""The properties in which two tensors on one storage must agree to be the same tensor: dtype,
shape, stride, and storage offset in elements."""

Place: TypeAlias = tuple[int, Geometry]
"""The id of a storage object, and the geometry of a tensor on it; aliases have the same place."""


def convert_conv3d_weight_memory_format(
    module: ModuleT, memory_format: torch.memory_format
) -> ModuleT:
    """Convert the weights of all Conv3d and ConvTranspose3d in a module, including the module.

    PyTorch's own function does the work, so the results are the same as PyTorch's, even if two
    parameters stop sharing a storage. `torch.channels_last`, which PyTorch's documentation long
    used here, means `torch.channels_last_3d`, since a 5-D weight can only have the latter.

    Args:
        module: A convolution, or a module that contains some at any depth.
        memory_format: `torch.channels_last_3d`, `torch.channels_last`, or
            `torch.contiguous_format`.

    Returns:
        The same module.

    >>> conv = convert_conv3d_weight_memory_format(nn.Conv3d(8, 4, 3), torch.channels_last)
    >>> conv.weight.stride()
    (216, 1, 72, 24, 8)
    """
    if memory_format == torch.channels_last:
        memory_format = torch.channels_last_3d
    return nn.utils.convert_conv3d_weight_memory_format(module, memory_format)


def strides_of(shape: Sequence[int], memory_format: MemoryFormat) -> tuple[int, ...]:
    """Return the strides, in elements, that PyTorch's function gives a weight of this shape.

    >>> strides_of((4, 8, 3, 3, 3), "channels_last_3d")
    (216, 1, 72, 24, 8)
    >>> strides_of((4, 1, 3, 3, 3), "contiguous_format")
    (27, 27, 9, 3, 1)
    """
    _, channels, depth, height, width = shape
    if memory_format == "channels_last_3d":
        # As in PyTorch: an extent of zero is multiplied as zero here.
        return (
            channels * width * height * depth,
            1,
            channels * width * height,
            channels * width,
            channels,
        )
    strides = [1]
    for extent in reversed(shape[1:]):
        # As in PyTorch: an extent of zero counts as one here.
        strides.append(strides[-1] * max(extent, 1))
    return tuple(reversed(strides))


def geometry_of(tensor: torch.Tensor) -> Geometry:
    """Return the geometry of a tensor: tensors with equal ones on one storage are the same."""
    return tensor.dtype, tuple(tensor.shape), tensor.stride(), int(tensor.storage_offset())


def place_of(tensor: torch.Tensor) -> Place:
    """Return the place of a tensor, which its aliases share."""
    return id(tensor.untyped_storage()), geometry_of(tensor)


def laid_out(tensor: torch.Tensor, strides: Sequence[int]) -> torch.Tensor:
    """Copy a tensor into a new storage with these strides.

    >>> laid_out(torch.zeros(4, 8, 3, 3, 3), (216, 1, 72, 24, 8)).stride()
    (216, 1, 72, 24, 8)
    """
    made = torch.empty_strided(tensor.shape, strides, dtype=tensor.dtype, device=tensor.device)
    return made.copy_(tensor.detach())


def slices_of(weight: torch.Tensor, max_bytes: int) -> list[torch.Tensor]:
    """Cut a tensor along its first dimension, if that is the outermost in memory too.

    It is outermost in both layouts of a convolution weight, so each slice can be permuted or
    compared alone.

    >>> [tuple(each.shape) for each in slices_of(torch.zeros(5, 2), 16)]
    [(2, 2), (2, 2), (1, 2)]
    """
    count = weight.shape[0] if weight.dim() else 0
    if count < 2 or weight.nbytes <= max_bytes or weight.stride(0) * count != weight.numel():
        return [weight]
    each_bytes = weight.numel() // count * weight.itemsize
    return list(torch.split(weight, max(1, max_bytes // max(1, each_bytes))))


def span_of(tensor: torch.Tensor) -> tuple[int, int]:
    """Return where a tensor's bytes start and end within its storage.

    >>> span_of(torch.zeros(4, 8)[1:3])
    (32, 96)
    """
    start = int(tensor.storage_offset()) * tensor.itemsize
    if tensor.is_contiguous():
        return start, start + tensor.numel() * tensor.itemsize
    last = sum(
        stride * (extent - 1) for stride, extent in zip(tensor.stride(), tensor.shape, strict=True)
    )
    return start, start + (last + 1) * tensor.itemsize
