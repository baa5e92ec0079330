"""Each module's output: how it fits into fp16, and a sample to compare with another run.

Keeping every activation would need as much memory as a training step. So each run keeps a sample of
each module's output, always of the same elements, and these samples are compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import inf, isfinite

import torch
from torch import Tensor

from convlast.report import Parity
from convlast.report.smoke import Activation
from convlast.smoke.fp16_range import LARGEST, headroom_of
from convlast.smoke.layout import memory_format_of
from convlast.smoke.model.events import ModulePlace, Turn
from convlast.smoke.model.outputs import sample_of
from convlast.smoke.parity import compare

SAMPLES = 1024
"""How many elements of each output are kept."""


VANISHING = 2.0**-25
"""The largest absolute value that rounds to zero in fp16."""


@dataclass(frozen=True)
class Reading:
    """The output of one module's turn.

    Attributes:
        place: The module.
        input_shape: The shape of its first input.
        absmax: The largest absolute value; infinite or NaN if there is such a value.
        overflow: How many values are beyond fp16's range.
        sample: Some of its values.
        memory_format: Its layout, if it is 5-D.
    """

    place: ModulePlace
    input_shape: tuple[int, ...]
    absmax: float
    overflow: int
    sample: Tensor
    memory_format: str | None

    @property
    def is_finite(self) -> bool:
        """Whether all its values are finite."""
        return isfinite(self.absmax)

    @property
    def fits(self) -> bool:
        """Whether all its values fit into fp16."""
        return self.absmax < LARGEST + 16

    def activation(self, relative: float | None) -> Activation:
        """Return the report's entry for it, with the relative error that fp16 caused there."""
        nonzero = self.sample[self.sample != 0]
        magnitudes = nonzero.abs()
        vanishing = int((magnitudes <= VANISHING).sum())
        least = magnitudes.min().item() if magnitudes.numel() else inf
        return Activation(
            module=self.place.name,
            kind=self.place.kind,
            absmax=self.absmax if self.is_finite else None,
            absmin=least if isfinite(least) else None,
            headroom=headroom_of(self.absmax),
            overflow=self.overflow,
            underflow_share=vanishing / max(nonzero.numel(), 1),
            relative=relative,
        )


@dataclass
class Readings:
    """The readings of one forward, in the order of execution."""

    taken: list[Reading] = field(default_factory=list)

    def note(self, turn: Turn) -> None:
        """Take the reading of one turn, from its first floating-point output."""
        output = next((o for o in turn.outputs if o.is_floating_point() and o.numel()), None)
        if output is None:
            return
        absmax = _absmax(output)
        overflow = 0
        if not absmax < LARGEST:
            overflow = int((output.abs() >= LARGEST + 16).sum())
        self.taken.append(
            Reading(
                place=turn.place,
                input_shape=tuple(turn.inputs[0].shape) if turn.inputs else (),
                absmax=absmax,
                overflow=overflow,
                sample=sample_of(output, SAMPLES).to(torch.float32).cpu(),
                memory_format=memory_format_of(output) if output.dim() == 5 else None,
            )
        )


@dataclass(frozen=True)
class Pair:
    """The readings of one module in two runs."""

    reference: Reading
    actual: Reading

    @property
    def relative(self) -> float | None:
        """The largest difference of the samples relative to the scale; None if not finite."""
        difference = (self.actual.sample - self.reference.sample).abs()
        if not difference.numel() or not difference.isfinite().all() or not self.reference.absmax:
            return None if not difference.isfinite().all() else 0.0
        return float(difference.max()) / self.reference.absmax

    def parity(self, pair: str, threshold: float) -> Parity:
        """Compare both samples, for the report."""
        return compare(self.reference.sample, self.actual.sample, pair=pair, threshold=threshold)

    def is_wrong(self, threshold: float) -> bool:
        """Say whether the second run is off by more than the threshold, or is not finite."""
        if not self.actual.is_finite and self.reference.is_finite:
            return True
        return self.relative is not None and self.relative > threshold


def pairs_of(reference: Readings, actual: Readings) -> Iterator[Pair]:
    """Pair the readings of two runs, up to the first module where the runs differ."""
    for left, right in zip(reference.taken, actual.taken, strict=False):
        if left.place != right.place or left.sample.shape != right.sample.shape:
            return
        yield Pair(left, right)


def first_wrong(pairs: Sequence[Pair], threshold: float) -> Pair | None:
    """Return the first module that is not finite; if there is none, the first that is far off."""
    broken = (pair for pair in pairs if not pair.actual.is_finite and pair.reference.is_finite)
    off = (pair for pair in pairs if pair.is_wrong(threshold))
    return next(broken, None) or next(off, None)


def activations_of(reference: Readings, pairs: Sequence[Pair]) -> list[Activation]:
    """Return the report's entry for each module, with the worst values of its turns."""
    worst: dict[str, Activation] = {}
    errors = [pair.relative for pair in pairs]
    errors += [None] * (len(reference.taken) - len(errors))
    for reading, error in zip(reference.taken, errors, strict=True):
        found = reading.activation(error)
        known = worst.get(found.module)
        worst[found.module] = found if known is None else _worse(known, found)
    return list(worst.values())


def _worse(left: Activation, right: Activation) -> Activation:
    """Merge two turns of one module, keeping the worst values."""
    both = left, right
    absmaxes = [found.absmax for found in both if found.absmax is not None]
    headrooms = [found.headroom for found in both if found.headroom is not None]
    absmins = [found.absmin for found in both if found.absmin is not None]
    relatives = [found.relative for found in both if found.relative is not None]
    return left.model_copy(
        update={
            "absmax": max(absmaxes) if len(absmaxes) == len(both) else None,
            "absmin": min(absmins, default=None),
            "headroom": min(headrooms, default=None),
            "overflow": left.overflow + right.overflow,
            "underflow_share": max(found.underflow_share for found in both),
            "relative": max(relatives, default=None),
        }
    )


def _absmax(output: Tensor) -> float:
    """Return the largest absolute value; read the values in memory order, which is faster."""
    strides = output.stride()
    order = sorted(range(output.dim()), key=strides.__getitem__, reverse=True)
    least, most = torch.aminmax(output.permute(order))
    return max(abs(least.item()), abs(most.item()))
