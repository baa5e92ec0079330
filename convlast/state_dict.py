"""The conversion of tensors that are in memory already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from convlast.checkpoints.checkpoint import Checkpoint
from convlast.layout.memory_format import laid_out, place_of
from convlast.options import MemoryFormat, Options
from convlast.planning.plan import make_plan
from convlast.planning.selection import Selection
from convlast.report import Layer


def convert_state_dict(
    state_dict: Mapping[str, object],
    memory_format: MemoryFormat = "channels_last_3d",
    select: str | Sequence[str] = ("all",),
) -> list[Layer]:
    """Convert the Conv3d weights of a state dict, wrapped or not, on any device.

    Which tensors are convolution weights is judged as for a file. The tensors stay the same
    objects, and aliases stay aliases, but each weight gets a storage of its own: what else was on
    the old one, such as the parameters that `model.state_dict()` leads to, is as it was. They get
    the layout by `model.load_state_dict(state_dict, assign=True)`.

    Args:
        state_dict: The tensors, at any depth.
        memory_format: The layout to give them.
        select: `all`, or patterns for the whole key; a text may have several, between commas.

    Returns:
        What was done to each layer, and on what evidence.

    Raises:
        NoConv3dWeightsError: If there is none.
        OptionError: If the layout does not exist, or a pattern matches none.

    >>> state_dict = torch.nn.Conv3d(8, 4, 3).state_dict()
    >>> [layer.status for layer in convert_state_dict(state_dict)]
    ['converted']
    >>> state_dict["weight"].stride()
    (216, 1, 72, 24, 8)
    """
    options = Options.parse(memory_format=memory_format, select=select)
    selection = Selection(options.select)
    plan = make_plan(Checkpoint(Path(), "memory", state_dict), options.memory_format, selection)
    selection.refuse_unmatched()
    converted = {
        place_of(decision.original): laid_out(decision.original, decision.stride_after)
        for decision in plan.conversions
    }
    for entry in plan.entries:
        tensor = entry.value
        if not isinstance(tensor, torch.Tensor) or tensor.layout != torch.strided:
            continue
        if (weight := converted.get(place_of(tensor))) is not None:
            tensor.data = weight
    return plan.layers()
