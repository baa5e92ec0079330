"""Whether strides are dense; without torch, since manifests are read without it."""

from __future__ import annotations

from collections.abc import Sequence


def is_dense(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Say whether these strides give each element its own place and leave no gap.

    Only then can the elements be permuted within the bytes that they occupy.

    >>> is_dense((4, 8, 3, 3, 3), (216, 1, 72, 24, 8))
    True
    >>> is_dense((4, 8, 3, 3, 3), (0, 27, 9, 3, 1))
    False
    """
    if 0 in shape:
        return True
    expected = 1
    for stride, extent in sorted(zip(strides, shape, strict=True)):
        if extent == 1:
            continue
        if stride != expected:
            return False
        expected *= extent
    return True
