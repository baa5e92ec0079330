"""The conversion of tensors that are in memory already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from convlast.checkpoints.checkpoint import Checkpoint
from convlast.options import MemoryFormat
from convlast.plan import apply_strides, make_plan
from convlast.report import Layer
from convlast.selection import Selection


def convert_state_dict(
    state_dict: Mapping[str, object],
    memory_format: MemoryFormat = "channels_last_3d",
    select: Sequence[str] = ("all",),
) -> list[Layer]:
    """Convert the Conv3d weights of a state dict in place, wrapped or not, on any device.

    Which tensors are convolution weights is judged as for a file. Each storage is converted
    once, where it is: tensors keep their identity, and aliases stay aliases.

    Args:
        state_dict: The tensors, at any depth.
        memory_format: The layout to give them.
        select: `all`, or patterns for the whole key.

    Returns:
        What was done to each layer, and on what evidence.

    Raises:
        NoConv3dWeightsError: If there is none.
        OptionError: If a pattern matches none.

    >>> import torch
    >>> state_dict = torch.nn.Conv3d(8, 4, 3).state_dict()
    >>> [layer.status for layer in convert_state_dict(state_dict)]
    ['converted']
    >>> state_dict["weight"].stride()
    (216, 1, 72, 24, 8)
    """
    selection = Selection(select)
    plan = make_plan(Checkpoint(Path(), "memory", state_dict), memory_format, selection)
    selection.refuse_unmatched()
    for decision in plan.conversions:
        values = decision.original.clone()
        decision.original.as_strided(values.shape, decision.stride_after).copy_(values)
    apply_strides(plan)
    return plan.layers()
