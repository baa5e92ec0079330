"""The smoke of a whole file: run each layer alone, and check that all values fit into fp16."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeAlias

import torch

from convlast.architectures import Case
from convlast.checkpoints.checkpoint import Checkpoint
from convlast.checkpoints.tree import Entry, KeyPath, dotted
from convlast.planning.plan import LayerPlan, Plan
from convlast.report import LayerSmoke, Range, Smoke
from convlast.smoke.fp16_range import audit, is_audited
from convlast.smoke.layer_judgement import summarise
from convlast.smoke.layers import Convolution, smoke_layer
from convlast.smoke.precision import name_on

Read: TypeAlias = Callable[[LayerPlan], torch.Tensor]
"""Reads a weight with the strides that the plan gives it."""


def smoke_layers(case: Case, read: Read) -> dict[str, LayerSmoke]:
    """Run each convolution of a plan alone; return the results by the layer's name.

    Aliases are run once. A skipped weight is not run, because its operator is not known. When the
    time is up, no further layer is run.

    Args:
        case: Its checkpoint, plan, device and option `input_shape` are used.
        read: Reads a converted weight.
    """
    plan = case.plan
    smokes: dict[str, LayerSmoke] = {}
    for done, decision in enumerate(plan.decisions):
        if decision.status == "skipped":
            continue
        if decision.alias_of in smokes:
            smokes[decision.name] = smokes[decision.alias_of]
            continue
        if case.time_limit.is_up():
            continue
        convolution = Convolution(
            name=decision.name,
            kind=decision.candidate.kind,
            shape=tuple(decision.original.shape),
            groups=decision.candidate.groups,
            known=decision.candidate.hyperparameters,
            contiguous=partial(case.checkpoint.read, decision.original),
            converted=partial(read, decision),
        )
        smokes[decision.name] = smoke_layer(convolution, case.device, case.options.input_shape)
        # The audit of the values comes after the last layer.
        case.progress("smoke", done + 1, len(plan.decisions) + 1)
    return smokes


def audit_ranges(checkpoint: Checkpoint, plan: Plan) -> list[Range]:
    """Return how the values of each tensor of the state dicts fit into fp16."""
    return [
        audit(name, (chunk.view(tensor.dtype) for chunk in checkpoint.chunks(tensor)))
        for name, tensor in _audited(plan)
    ]


def summarise_smoke(smokes: dict[str, LayerSmoke], device: torch.device) -> Smoke:
    """Summarise the smoke of all layers for the report."""
    summary = summarise(smokes.items())
    return Smoke(
        scope="layers",
        dtype=name_on(device),
        device=str(device),
        status=summary.status,
        parity=[
            parity.model_copy(update={"layer": summary.worst[parity.pair]})
            for parity in summary.parity
        ],
    )


def _audited(plan: Plan) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield each tensor of the state dicts that is audited, with its name in the report."""
    state_dicts = {decision.candidate.path[:-1] for decision in plan.decisions}
    names = {decision.candidate.path: decision.name for decision in plan.decisions}
    for entry in plan.entries:
        tensor = entry.original
        if entry.path[:-1] not in state_dicts or tensor is None or not _is_readable(entry):
            continue
        yield names.get(entry.path) or _name(entry.path, state_dicts), tensor


def _is_readable(entry: Entry) -> bool:
    """Say whether the values of a tensor are stored, densely, in a dtype that is audited."""
    tensor = entry.original
    return (
        tensor is not None
        and is_audited(tensor.dtype)
        and not tensor.is_meta
        and tensor.layout == torch.strided
    )


def _name(path: KeyPath, state_dicts: set[KeyPath]) -> str:
    return dotted(path if len(state_dicts) > 1 else path[-1:])
