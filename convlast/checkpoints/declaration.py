"""What a file itself says about a convolution: in a pickled module, or in a program's code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from convlast.report import Kind


@dataclass(frozen=True)
class Hyperparameters:
    """How a convolution steps over its input, for each of its three dimensions."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]


@dataclass(frozen=True)
class Declaration:
    """The layer of a convolution weight, as the file declares it.

    Attributes:
        kind: The kind of the layer.
        evidence: Where the file says so, in words.
        groups: Its number of groups, if the file says it.
        hyperparameters: Its stride, padding and dilation, if the file says them.
    """

    kind: Kind
    evidence: str
    groups: int | None = None
    hyperparameters: Hyperparameters | None = None
