"""How far two outputs agree, and how far they have to.

The thresholds rest on a measurement of `layers.smoke_layer` on a CPU (emulated fp16, PyTorch
2.13): 387 random convolutions, plain and transposed, groups of 1, 2 and 8, up to 1024 channels,
kernels from 1×1×1 to 7×7×7, weights normal, uniform, positive, sparse, heavy-tailed, or with
channels six decades apart, each scaled by 0.01, 1 or 30. The ten whose outputs fp16 could not hold
at all were found and left out. What a GPU's own kernels give was not measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from convlast.report import Parity

LAYOUT_THRESHOLD = 2.0**-7
"""Of contiguous and converted fp16, relative to the scale of the output.

Both round the same operands and accumulate in fp32, so that only the order of summation differs:
one unit in the last place of fp16, 2⁻¹⁰ of the scale, where it tips a rounding. The worst measured
was 2⁻¹⁰·⁶ (0.065 %). Eight units leave room for kernels that split their sums and add the parts in
fp16. A layout that is misread is nowhere near: 296 of the same weights, read in the order of the
other format, were off by 62 % at least.
"""

DTYPE_THRESHOLD = 0.02
"""Of fp32 and fp16, both contiguous, relative to the scale of the output.

Each operand is rounded by up to 2⁻¹¹ of itself and errors of many terms cancel: the median measured
was 0.048 %, the worst 0.12 %. Beyond 2 % something other than rounding is at work: weights that
vanish, or sums that cancel.
"""

BLOCK_NUMEL = 1 << 18
"""Elements compared together, in float64: a temporary of 2 MiB stays in a CPU core's cache."""


@dataclass
class _Tally:
    """What one pass over both outputs finds."""

    compared: int = 0
    nan: int = 0
    inf: int = 0
    scale: float = 0.0
    max_abs: float = 0.0
    sum_abs: float = 0.0
    dot: float = 0.0
    reference_square: float = 0.0
    actual_square: float = 0.0

    def add(self, reference: Tensor, actual: Tensor) -> None:
        """Count one block, both flat and in float64."""
        reference_square, actual_square = float(reference.dot(reference)), float(actual.dot(actual))
        if math.isfinite(reference_square + actual_square):  # and so is each value, as a rule
            self.compared += reference.numel()
            self.scale = max(self.scale, _absmax(reference))
        else:
            reference, actual = self._sort_out(reference, actual)
            reference_square = float(reference.dot(reference))
            actual_square = float(actual.dot(actual))
        difference = (actual - reference).abs_()
        self.max_abs = max(self.max_abs, float(difference.max()))
        self.sum_abs += float(difference.sum())
        self.dot += float(reference.dot(actual))
        self.reference_square += reference_square
        self.actual_square += actual_square

    def _sort_out(self, reference: Tensor, actual: Tensor) -> tuple[Tensor, Tensor]:
        """Count what is not finite, and return both with zeros in its place."""
        expected = reference.isfinite()
        self.compared += int(expected.sum())
        self.nan += int((actual.isnan() & expected).sum())
        self.inf += int((actual.isinf() & expected).sum())
        reference = reference.where(expected, 0)
        self.scale = max(self.scale, _absmax(reference))
        both = expected & actual.isfinite()
        return reference.where(both, 0), actual.where(both, 0)

    @property
    def relative(self) -> float:
        """The largest difference, in units of the reference's scale."""
        if self.scale == 0:
            return 0.0 if self.max_abs == 0 else math.inf
        return self.max_abs / self.scale

    @property
    def cosine(self) -> float:
        """The cosine of the angle between both; NaN where one is zero."""
        length = math.sqrt(self.reference_square) * math.sqrt(self.actual_square)
        return self.dot / length if length else math.nan


def compare(reference: Tensor, actual: Tensor, *, pair: str, threshold: float) -> Parity:
    """Compare two runs of the same thing.

    Elements where the reference itself is not finite are left out. Where nothing is left, nothing
    disagrees: the parity passes, and its figures are null.

    Args:
        reference: What is expected, of any shape and floating-point dtype.
        actual: What came out, of the same shape.
        pair: What is compared, for the report.
        threshold: The largest difference that passes, relative to the reference's scale.

    Raises:
        ValueError: If the shapes differ.

    >>> parity = compare(torch.tensor([1.0, -4.0]), torch.tensor([1.0, -3.0]),
    ...                  pair="layout", threshold=0.5)
    >>> parity.max_abs, parity.relative, parity.passed
    (1.0, 0.25, True)
    """
    if reference.shape != actual.shape:
        raise ValueError(f"{tuple(reference.shape)} and {tuple(actual.shape)} cannot be compared")
    tally = _Tally()
    for reference_block, actual_block in zip(_blocks(reference), _blocks(actual), strict=True):
        tally.add(reference_block, actual_block)
    spoilt = tally.nan + tally.inf > 0
    known = tally.compared > 0 and not spoilt
    return Parity(
        pair=pair,
        max_abs=_finite(tally.max_abs) if known else None,
        mean_abs=_finite(tally.sum_abs / tally.compared) if known else None,
        relative=_finite(tally.relative) if known else None,
        cosine=_finite(tally.cosine) if known else None,
        nan=tally.nan,
        inf=tally.inf,
        threshold=threshold,
        passed=not spoilt and tally.relative <= threshold,
    )


def _blocks(output: Tensor) -> Iterator[Tensor]:
    """Yield an output in logical order, whatever its strides, in float64.

    No square of a smaller dtype's value overflows there.
    """
    if output.numel():
        for block in torch.split(output.detach().flatten(), BLOCK_NUMEL):
            yield block.to(torch.float64)


def _absmax(block: Tensor) -> float:
    least, most = torch.aminmax(block)
    return max(abs(least.item()), abs(most.item()))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def badness(parity: Parity) -> tuple[bool, int, float]:
    """Return a sort key: first failure, then the number of NaN and infinities, then difference."""
    relative = parity.relative
    if relative is None:
        relative = 0.0 if parity.passed else math.inf
    return not parity.passed, parity.nan + parity.inf, relative
