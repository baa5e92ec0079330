"""A plan, applied to the tensors of an opened checkpoint, which hold no data."""

from __future__ import annotations

from dataclasses import replace

import torch

from convlast.checkpoints.checkpoint import Checkpoint
from convlast.layout.memory_format import place_of
from convlast.options import Dtype
from convlast.planning.casting import DTYPES, cast_state_dicts
from convlast.planning.plan import Plan


def apply_plan(checkpoint: Checkpoint, plan: Plan, dtype: Dtype) -> Plan:
    """Give the tensors of a checkpoint their new strides and dtypes; no byte is read.

    Args:
        checkpoint: What the plan was made for.
        plan: Which weights are converted.
        dtype: The dtype to cast the state dicts to.

    Returns:
        The plan, with the casts.
    """
    apply_strides(plan)
    if dtype == "keep":
        return plan
    state_dicts = {decision.candidate.path[:-1] for decision in plan.decisions}
    casts = cast_state_dicts(checkpoint, plan.entries, state_dicts, DTYPES[dtype])
    return replace(plan, casts=casts, dtype=dtype if casts.dtypes else "keep")


def apply_strides(plan: Plan) -> None:
    """Give every tensor of a converted weight its new strides; no byte moves.

    The objects stay the same ones, so a `Parameter` that stands in two places still does.
    """
    strides = {place_of(d.original): d.stride_after for d in plan.conversions}
    changed: set[int] = set()
    for entry in plan.entries:
        tensor = entry.value
        if not isinstance(tensor, torch.Tensor) or tensor.dim() != 5 or id(tensor) in changed:
            continue
        if (stride := strides.get(place_of(tensor))) is not None:
            changed.add(id(tensor))
            tensor.data = tensor.data.as_strided(tensor.shape, stride)
