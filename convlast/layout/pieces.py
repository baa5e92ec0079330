"""Elementwise work in pieces so small that PyTorch does it on the calling thread.

During a conversion the other processors compute digests. Threads that PyTorch started for a larger
tensor would compete with them, and busily wait for each other. A piece also stays in the cache. A
setting for the number of threads would also affect other threads of the process.

Source: https://github.com/pytorch/pytorch/blob/v2.13.0/aten/src/ATen/TensorIterator.h (GRAIN_SIZE)
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

PIECE_ELEMENTS = 32_767
"""The largest number of elements for which PyTorch uses only one thread."""


def pieces_of(*tensors: torch.Tensor) -> Iterator[tuple[torch.Tensor, ...]]:
    """Cut tensors of the same shape into matching pieces, along their first dimensions.

    >>> [tuple(piece.shape) for piece, in pieces_of(torch.zeros(3, 2, 20_000))]
    [(1, 20000), (1, 20000), (1, 20000), (1, 20000), (1, 20000), (1, 20000)]
    """
    if tensors[0].numel() <= PIECE_ELEMENTS:
        yield tensors
        return
    each = tensors[0].numel() // len(tensors[0])
    if each <= PIECE_ELEMENTS:
        yield from zip(*(torch.split(t, PIECE_ELEMENTS // each) for t in tensors), strict=True)
        return
    for parts in zip(*(t.unbind() for t in tensors), strict=True):
        yield from pieces_of(*parts)


def copy_elements(target: torch.Tensor, source: torch.Tensor) -> None:
    """Copy a tensor into another one of the same shape; their strides may differ."""
    for into, piece in pieces_of(target, source):
        into.copy_(piece)


def equal_elements(left: torch.Tensor, right: torch.Tensor) -> bool:
    """Say whether two tensors have the same shape and values; their strides may differ.

    >>> equal_elements(torch.zeros(2, 3), torch.zeros(3, 2).t())
    True
    """
    return left.shape == right.shape and all(
        torch.equal(one, other) for one, other in pieces_of(left, right)
    )


def equal_bytes(left: torch.Tensor, right: torch.Tensor) -> bool:
    """Compare flat uint8 tensors, eight bytes at a time if they are aligned.

    >>> equal_bytes(torch.zeros(9, dtype=torch.uint8), torch.zeros(9, dtype=torch.uint8))
    True
    """
    addresses = (left.storage_offset(), right.storage_offset(), left.numel(), right.numel())
    if all(address % 8 == 0 for address in addresses):
        left, right = left.view(torch.int64), right.view(torch.int64)
    return equal_elements(left, right)
