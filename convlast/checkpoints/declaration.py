"""What a file itself says of a convolution: a pickled module, or the code of a program."""

from __future__ import annotations

from dataclasses import dataclass

from convlast.report import Kind


@dataclass(frozen=True)
class Hyperparameters:
    """How a convolution steps over its input, for each of its three dimensions."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]


@dataclass(frozen=True)
class Declaration:
    """The owner of a convolution weight.

    Attributes:
        kind: What it is.
        evidence: What says so, in words.
        groups: Its groups, where that is told.
        hyperparameters: The rest, where it is told.
    """

    kind: Kind
    evidence: str
    groups: int | None = None
    hyperparameters: Hyperparameters | None = None
