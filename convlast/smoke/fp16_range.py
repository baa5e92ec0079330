"""How a tensor's values fit into fp16: which overflow, and which round to zero."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from convlast.report import Range
from convlast.report.smoke import has_little_headroom

AUDITED = frozenset({torch.float64, torch.float32, torch.bfloat16, torch.float16})

_INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}
"""The integers with as many bytes as the audited dtypes."""

LARGEST = torch.finfo(torch.float16).max
BLOCK_NUMEL = 1 << 19
"""Elements audited at a time: intermediate results stay in a CPU core's cache, and the memory used
does not grow with the tensor."""


def is_audited(dtype: torch.dtype) -> bool:
    """Say whether tensors of this dtype can be audited: all but fp8, complex and integers.

    >>> is_audited(torch.bfloat16), is_audited(torch.int8)
    (True, False)
    """
    return dtype in AUDITED


def audit(name: str, chunks: Iterable[Tensor]) -> Range:
    """Count the values of one tensor that fp16 cannot hold.

    A value overflows if `.to(torch.float16)` makes it infinite (from 65520 up), and underflows if
    it becomes zero (up to 2⁻²⁵).

    Args:
        name: The tensor's name, for the report.
        chunks: Its values, flat, in chunks of any size, all of one audited dtype and on one device.

    >>> found = audit("w", [torch.tensor([0.0, 1e-9, -7e4, 2.0])])
    >>> found.overflow, found.underflow, found.underflow_share, found.nonfinite
    (1, 1, 0.25, 0)
    """
    absmax, absmin, numel, overflow, underflow, nonfinite = 0.0, math.inf, 0, 0, 0, 0
    for block in _blocks(chunks):
        half = block.to(torch.float16)
        numel += block.numel()
        smallest, largest = _extremes(block)
        absmin = min(absmin, smallest)
        if largest < LARGEST:
            absmax = max(absmax, largest)
        else:  # rare, so these extra passes may be slow
            finite = block.isfinite()
            unfit = block.numel() - _count(finite)
            nonfinite += unfit
            overflow += block.numel() - _count(half.isfinite()) - unfit
            absmax = max(absmax, _extremes(block.where(finite, 0))[1])
        if half is not block and (nonzero := _count_nonzero(half)) < block.numel():
            underflow += _count(block) - nonzero
    return Range(
        name=name,
        absmax=None if nonfinite else absmax,
        absmin=None if nonfinite or math.isinf(absmin) else absmin,
        numel=numel,
        overflow=overflow,
        underflow=underflow,
        nonfinite=nonfinite,
        headroom=headroom_of(absmax) if not nonfinite else None,
        underflow_share=underflow / numel if numel else 0.0,
    )


def headroom_of(absmax: float) -> float | None:
    """Return fp16's largest value divided by this one; None if that is not a finite number.

    >>> headroom_of(32752.0), headroom_of(0.0), headroom_of(math.inf)
    (2.0, None, None)
    """
    if not math.isfinite(absmax) or not absmax:
        return None
    headroom = LARGEST / absmax
    return headroom if math.isfinite(headroom) else None


def is_worth_telling(found: Range) -> bool:
    """Say whether a tensor loses values in fp16, or comes close to it."""
    loses = found.overflow or found.underflow or found.nonfinite
    return bool(loses) or has_little_headroom(found.headroom)


def _blocks(chunks: Iterable[Tensor]) -> Iterator[Tensor]:
    for chunk in chunks:
        if chunk.numel():
            yield from torch.split(chunk.detach().flatten(), BLOCK_NUMEL)


def _extremes(block: Tensor) -> tuple[float, float]:
    """Return the smallest magnitude other than zero and the largest one; NaN if there is one.

    Without the sign bit, the bits of two values are integers in the order of their magnitudes. A
    CPU compares integers of two bytes much faster than fp16.
    """
    integers = _INTEGERS[block.itemsize]
    unsigned = torch.iinfo(integers).max
    bits = block.view(integers) & unsigned
    least, most = torch.aminmax(bits)
    if least == 0:  # one less makes zero the largest integer
        least = bits.sub_(1).bitwise_and_(unsigned).min()
        least = torch.where(least < most, least + 1, most)
    smallest, largest = (extreme.view(block.dtype).item() for extreme in (least, most))
    return smallest or math.inf, largest


def _count(values: Tensor) -> int:
    return int(torch.count_nonzero(values))


def _count_nonzero(half: Tensor) -> int:
    """Count the values of an fp16 tensor that are not zero; overwrites the tensor.

    A CPU counts integers faster. Doubling drops the sign bit, so that -0.0 counts as zero too.
    """
    return _count(half.view(torch.int16).mul_(2))
