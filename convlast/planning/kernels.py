"""Which shapes a 3-D convolution's weight can have, and which are those of a sparse one.

Libraries for point clouds keep 5-D weights under the same names with the axes in another order:
(O, D, H, W, I) in spconv 2, and (D, H, W, I, O) in spconv 1. Read as (O, I, D, H, W) they have
kernels that no dense convolution has, such as 3×3×64. A dense kernel may be large too; then its
channels are no small kernel, and only one order of the axes makes sense.

Source: https://github.com/traveller59/spconv/blob/master/docs/USAGE.md
"""

from __future__ import annotations

from collections.abc import Sequence

SMALL = 7
"""The largest extent of most kernels: beyond it only few forms occur."""

_LARGEST, _LARGEST_LINE = 64, 128
_LEAST_WIDTH = 16
"""The fewest channels that a patch is embedded into."""


def is_plausible(shape: Sequence[int]) -> bool:
    """Return whether a weight of this shape can be a Conv3d's or a ConvTranspose3d's.

    A kernel is small, or a line along one axis. A larger one is believed if the weight cannot be
    a sparse convolution's, or if it is a patch, equal in H and W, embedded into many channels.

    Args:
        shape: (O, I, D, H, W), or (I, O, D, H, W) of a transposed convolution.

    >>> is_plausible((64, 32, 3, 3, 3)), is_plausible((768, 3, 2, 16, 16))
    (True, True)
    >>> is_plausible((2, 2, 16, 16, 16)), is_plausible((1, 64, 9, 9, 9))
    (True, True)
    >>> is_plausible((64, 3, 3, 3, 32)), is_plausible((3, 3, 3, 64, 64))
    (False, False)
    """
    kernel = tuple(shape[2:])
    if max(kernel) <= SMALL:
        return True
    if sorted(kernel)[:2] == [1, 1]:
        return max(kernel) <= _LARGEST_LINE and not _is_pointwise_sparse(shape)
    if max(kernel) > _LARGEST:
        return False
    is_patch = kernel[1] == kernel[2] and shape[0] >= _LEAST_WIDTH
    return is_patch or not may_be_sparse(shape)


def _is_pointwise_sparse(shape: Sequence[int]) -> bool:
    """Return whether (O, 1, 1, 1, I) has an even I; a dense line of kernels is of odd length."""
    return tuple(shape[1:4]) == (1, 1, 1) and shape[4] % 2 == 0


def may_be_sparse(shape: Sequence[int]) -> bool:
    """Return whether a weight of this shape can be a sparse convolution's, in either order of axes.

    >>> may_be_sparse((16, 3, 3, 3, 4)), may_be_sparse((3, 3, 3, 4, 16))
    (True, True)
    >>> may_be_sparse((32, 16, 3, 3, 3))
    False
    """
    return max(shape[1:4]) <= SMALL or max(shape[:3]) <= SMALL
