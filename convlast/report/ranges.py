"""How values fit into fp16: those of the file's tensors, and those that a model computes."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

LEAST_HEADROOM = 4.0
"""A headroom below this is reported: other inputs may be a few times as large as the one that was
drawn here, and further training may let a weight grow as much."""

UNDERFLOW_SHARE = 0.01
"""The share of a tensor's values that may become zero in fp16 before it is reported. Values below
2⁻²⁵ add nothing to a sum that fp16 can show, unless most of a weight is so small."""


def has_little_headroom(headroom: float | None) -> bool:
    """Say whether values come close to the largest one of fp16.

    >>> has_little_headroom(1.5), has_little_headroom(1e6), has_little_headroom(None)
    (True, False, False)
    """
    return headroom is not None and headroom < LEAST_HEADROOM


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class Range(_Model):
    """How a tensor's values fit into fp16."""

    name: str
    absmax: float | None
    """The largest absolute value; null if it is not finite."""
    absmin: float | None = None
    """The smallest absolute value other than zero; null if there is none, or one is not finite."""
    numel: int
    overflow: int
    """Finite values that become infinite."""
    underflow: int
    """Values other than zero that become zero."""
    nonfinite: int = 0
    """Values that are not finite in the file."""
    headroom: float | None = None
    """65504 divided by `absmax`; null if that is not a finite number."""
    underflow_share: float = 0.0
    """The share of all values that become zero but were not."""


class Magnitudes(_Model):
    """The largest and the smallest magnitude of one tensor."""

    name: str
    absmax: float | None
    """As in `range`."""
    absmin: float | None
    """As in `range`."""


class Activation(_Model):
    """How the output of one module fits into fp16, and its error in fp16."""

    module: str
    kind: str
    """The class of the module, or the operator of a program."""
    absmax: float | None
    """The largest absolute value in fp32; null if it is not finite."""
    absmin: float | None = None
    """The smallest absolute value other than zero, in a sample; null if there is none."""
    headroom: float | None
    """65504 divided by `absmax`; below 1 values overflow."""
    overflow: int
    """Values beyond 65504."""
    underflow_share: float
    """The share of values other than zero that become zero, in a sample."""
    relative: float | None = None
    """The largest error of fp16's output against fp32's, in a sample, relative to `absmax`."""
