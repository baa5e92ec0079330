"""The shapes, strides and offsets that a tensor may have, in any container.

PyTorch multiplies them in 64 bits, and each of its functions behaves differently if that overflows.
So each product that it can compute from them, in bytes, has to be below 2⁶³.
"""

from __future__ import annotations

from collections.abc import Sequence

from convlast.errors import MalformedCheckpointError

MAX_DIMS = 64
"""The most dimensions that PyTorch's operations accept.

Source: https://github.com/pytorch/pytorch/blob/v2.13.0/aten/src/ATen/WrapDimUtilsMulti.h
"""

MAX_ELEMENTS = (1 << 63) // 16
"""The most elements: the widest element has 16 bytes."""


def refuse_extents(
    shape: Sequence[object],
    stride: Sequence[object],
    offset: object,
    tensor: str = "A tensor",
) -> None:
    """Refuse a shape, strides and an offset that no tensor can have.

    Args:
        shape: The extents in the file.
        stride: The strides in the file, in elements.
        offset: The offset in the file, in elements.
        tensor: The name of the tensor, for the message.

    Raises:
        MalformedCheckpointError: If they are not numbers, are negative, too many, not equally many,
            or too large to be multiplied.

    >>> refuse_extents((4, 8), (8, 1), 0)
    >>> refuse_extents((0, 1 << 40, 1 << 40), (0, 0, 0), 0)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    convlast.errors.MalformedCheckpointError: A tensor has a shape, ... multiply in 64 bits.
    """
    said = (*shape, *stride, offset)[: 2 * MAX_DIMS + 1]
    # By `__class__`, which needs no call: this runs for each tensor of a file.
    numbers = [number for number in said if number.__class__ is int and number >= 0]
    if len(shape) != len(stride) or len(numbers) != len(shape) + len(stride) + 1:
        raise MalformedCheckpointError(
            f"{tensor} has a shape, strides or an offset that PyTorch cannot use: they "
            f"are numbers from 0 on, with a stride for each of at most {MAX_DIMS} extents."
        )
    extents, steps, elements, last = numbers[: len(shape)], numbers[len(shape) : -1], 1, numbers[-1]
    for extent, step in zip(extents, steps, strict=True):
        # Large numbers are not even multiplied: for huge ones that would take long.
        is_large = extent >= MAX_ELEMENTS or step >= MAX_ELEMENTS or last >= MAX_ELEMENTS
        if extent > 1 and not is_large:
            elements *= extent
            last += (extent - 1) * step
        if is_large or elements >= MAX_ELEMENTS or last >= MAX_ELEMENTS:
            raise MalformedCheckpointError(
                f"{tensor} has a shape, strides or an offset that PyTorch cannot multiply in 64 "
                "bits."
            )
