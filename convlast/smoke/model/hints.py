"""What keeps a convolution from being fast on tensor cores, whatever its layout.

Source: https://docs.nvidia.com/deeplearning/performance/dl-performance-convolutional/index.html
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from math import prod

from torch import Tensor

from convlast.report.listing import listed
from convlast.smoke.model.events import Operation
from convlast.smoke.model.trace import CONVOLUTIONS

MULTIPLE = 8
"""How many fp16 channels one tensor-core instruction processes."""

NAMED = 4
"""The most convolutions that a hint names."""

_listed = partial(listed, at_most=NAMED)


@dataclass
class Hints:
    """The convolutions of one forward, by the hint that applies to them."""

    patches: list[str] = field(default_factory=list)
    depthwise: list[str] = field(default_factory=list)
    grouped: list[str] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)
    number: int = 0

    def note_operation(self, operation: Operation) -> None:
        """Record one operator."""
        if operation.name not in CONVOLUTIONS or len(operation.args) < 9:
            return
        weight, is_transposed, groups = (operation.args[index] for index in (1, 6, 8))
        if not isinstance(weight, Tensor) or weight.dim() != 5:
            return
        self.number += 1
        name, inside, outside = operation.place.name, *_channels(weight, is_transposed, groups)
        if self._is_patch_embedding(operation, weight, is_transposed):
            self._add(self.patches, name)
        if groups > 1:
            self._add(self.depthwise if groups == inside else self.grouped, name)
        elif inside % MULTIPLE or outside % MULTIPLE:
            self._add(self.odd, f"{name} ({inside} to {outside})")

    def words(self) -> Iterator[str]:
        """Yield the hints, each with what to do about it."""
        if self.patches:
            yield (
                f"{_listed(self.patches)}: kernel and stride are equal, so it cuts patches. As a "
                "Linear on the unfolded patches it is one matrix product, faster than any layout "
                "of the convolution."
            )
        if self.depthwise:
            yield (
                f"{_listed(self.depthwise)}: depthwise. Tensor cores do not help there, and "
                "channels-last goes to another kernel, which took 6 times as long on an H100 with "
                "cuDNN 9.19: measure before you convert it."
            )
        if self.grouped:
            yield (
                f"{_listed(self.grouped)}: grouped. cuDNN has fast kernels for some widths of a "
                "group only."
            )
        if self.odd:
            yield (
                f"{_listed(self.odd)}: channels that 8 does not divide leave tensor cores partly "
                "idle. First and last layers seldom profit; pad inner ones to a multiple of 8."
            )

    def _is_patch_embedding(
        self, operation: Operation, weight: Tensor, is_transposed: bool
    ) -> bool:
        """Say whether this is the first convolution, and its kernel reads each element once."""
        kernel, stride, padding = weight.shape[2:], operation.args[3], operation.args[4]
        return (
            self.number == 1
            and not is_transposed
            and tuple(stride) == tuple(kernel)
            and prod(kernel) > 1
            and not any(padding)
        )

    @staticmethod
    def _add(names: list[str], name: str) -> None:
        if name not in names:
            names.append(name)


def _channels(weight: Tensor, is_transposed: bool, groups: int) -> tuple[int, int]:
    """Return the number of input and output channels."""
    first, second = weight.shape[0], weight.shape[1] * groups
    return (first, second) if is_transposed else (second, first)
