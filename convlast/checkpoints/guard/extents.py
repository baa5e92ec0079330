"""What the shape, the strides and the offset of a tensor may be, in whichever container it is.

PyTorch multiplies them in 64 bits, and where that overflows each of its functions does something
else. So each product that it can make of them has to be counted in bytes below 2⁶³.
"""

from __future__ import annotations

from collections.abc import Sequence

from convlast.errors import MalformedCheckpointError

MAX_DIMS = 64
"""What PyTorch's operations take.

Source: https://github.com/pytorch/pytorch/blob/v2.13.0/aten/src/ATen/WrapDimUtilsMulti.h
"""

MAX_ELEMENTS = (1 << 63) // 16
"""The widest element has 16 bytes."""


def refuse_extents(
    shape: Sequence[object],
    stride: Sequence[object],
    offset: object,
    tensor: str = "A tensor",
) -> None:
    """Refuse what no tensor has.

    Args:
        shape: Its extents, as the file says them.
        stride: In elements; likewise.
        offset: In elements; likewise.
        tensor: Which one it is, for the message.

    Raises:
        MalformedCheckpointError: If they are no numbers, negative, too many, do not belong
            together, or are too large to be multiplied.

    >>> refuse_extents((4, 8), (8, 1), 0)
    >>> refuse_extents((0, 1 << 40, 1 << 40), (0, 0, 0), 0)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    convlast.errors.MalformedCheckpointError: A tensor has a shape, ... multiply in 64 bits.
    """
    said = (*shape, *stride, offset)[: 2 * MAX_DIMS + 1]
    # By `__class__`, which is no call: this is asked of each tensor of a file.
    numbers = [number for number in said if number.__class__ is int and number >= 0]
    if len(shape) != len(stride) or len(numbers) != len(shape) + len(stride) + 1:
        raise MalformedCheckpointError(
            f"{tensor} has a shape, strides or an offset that PyTorch cannot give one: they are "
            f"numbers from 0 on, with a stride for each of at most {MAX_DIMS} extents."
        )
    extents, steps, elements, last = numbers[: len(shape)], numbers[len(shape) : -1], 1, numbers[-1]
    for extent, step in zip(extents, steps, strict=True):
        # Large ones are not even multiplied: that takes longer than their digits are worth.
        is_large = extent >= MAX_ELEMENTS or step >= MAX_ELEMENTS or last >= MAX_ELEMENTS
        if extent > 1 and not is_large:
            elements *= extent
            last += (extent - 1) * step
        if is_large or elements >= MAX_ELEMENTS or last >= MAX_ELEMENTS:
            raise MalformedCheckpointError(
                f"{tensor} has a shape, strides or an offset that PyTorch cannot multiply in 64 "
                "bits."
            )
