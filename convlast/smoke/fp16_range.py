"""How a tensor's values fit into fp16: what overflows, and what vanishes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from convlast.report import Range

AUDITED = frozenset({torch.float64, torch.float32, torch.bfloat16, torch.float16})

LARGEST = torch.finfo(torch.float16).max
LEAST_HEADROOM = 4.0
"""What fits into fp16's range fewer times than this is told of: another input may be a few times as
large as the one that was drawn here, and a weight may grow by as much in further training."""

BLOCK_NUMEL = 1 << 19
"""Elements looked at together: what is computed from them stays in a CPU core's cache, and the
memory taken does not grow with the tensor."""


def is_audited(dtype: torch.dtype) -> bool:
    """Say whether tensors of this dtype can be audited: all but fp8, complex and integers.

    >>> is_audited(torch.bfloat16), is_audited(torch.int8)
    (True, False)
    """
    return dtype in AUDITED


def audit(name: str, chunks: Iterable[Tensor]) -> Range:
    """Count the values of one tensor that fp16 cannot hold.

    What overflows and what vanishes is what `.to(torch.float16)` makes infinite or zero: from
    65520 up, and up to 2⁻²⁵.

    Args:
        name: The tensor's name, for the report.
        chunks: Its values, flat, in pieces of any size. All of one audited dtype, on one device.

    >>> found = audit("w", [torch.tensor([0.0, 1e-9, -7e4, 2.0])])
    >>> found.overflow, found.underflow, found.underflow_share, found.nonfinite
    (1, 1, 0.25, 0)
    """
    absmax, numel, overflow, underflow, nonfinite = 0.0, 0, 0, 0, 0
    for block in _blocks(chunks):
        half = block.to(torch.float16)
        numel += block.numel()
        largest = _absmax(block)
        if largest < LARGEST:
            absmax = max(absmax, largest)
        else:  # rare, so that these passes may cost something
            finite = block.isfinite()
            unfit = block.numel() - _count(finite)
            nonfinite += unfit
            overflow += block.numel() - _count(half.isfinite()) - unfit
            absmax = max(absmax, _absmax(block.where(finite, 0)))
        if half is not block and (nonzero := _count_nonzero(half)) < block.numel():
            underflow += _count(block) - nonzero
    return Range(
        name=name,
        absmax=None if nonfinite else absmax,
        numel=numel,
        overflow=overflow,
        underflow=underflow,
        nonfinite=nonfinite,
        headroom=headroom_of(absmax) if not nonfinite else None,
        underflow_share=underflow / numel if numel else 0.0,
    )


def headroom_of(absmax: float) -> float | None:
    """Return how often values up to this fit into fp16's range, where that is a number.

    >>> headroom_of(32752.0), headroom_of(0.0), headroom_of(math.inf)
    (2.0, None, None)
    """
    if not math.isfinite(absmax) or not absmax:
        return None
    headroom = LARGEST / absmax
    return headroom if math.isfinite(headroom) else None


def is_worth_telling(found: Range) -> bool:
    """Say whether anything of a tensor is lost in fp16, or little is wanting."""
    is_close = found.headroom is not None and found.headroom < LEAST_HEADROOM
    return bool(found.overflow or found.underflow or found.nonfinite or is_close)


def _blocks(chunks: Iterable[Tensor]) -> Iterator[Tensor]:
    for chunk in chunks:
        if chunk.numel():
            yield from torch.split(chunk.detach().flatten(), BLOCK_NUMEL)


def _absmax(block: Tensor) -> float:
    """Return the largest absolute value; NaN if there is one."""
    least, most = torch.aminmax(block)
    return max(abs(least.item()), abs(most.item()))


def _count(values: Tensor) -> int:
    return int(torch.count_nonzero(values))


def _count_nonzero(half: Tensor) -> int:
    """Count the values of an fp16 tensor that are not zero; overwrites it.

    As integers, which a CPU counts faster. Doubling drops the sign bit: -0.0 is zero too.
    """
    return _count(half.view(torch.int16).mul_(2))
