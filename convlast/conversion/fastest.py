"""What asks for speed: `select=fastest` narrows the plan, and no CPU can say what is fast."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from convlast.architectures import Case, find_subject
from convlast.conversion.inference import misfit_of, no_model, weights_of
from convlast.errors import OptionError
from convlast.layout.memory_format import laid_out
from convlast.options import Options
from convlast.planning.plan import LayerPlan, Plan
from convlast.report.smoke import Choice
from convlast.smoke.model.choosing import choose_on_accelerator
from convlast.smoke.model.events import Failure
from convlast.smoke.model.specimen import Specimen, Way
from convlast.smoke.out_of_memory import shrinking


def refuse_unmeasurable(options: Options, device: torch.device) -> None:
    """Refuse what asks for a measurement that this device cannot give.

    Raises:
        OptionError: If there is something of that kind.
    """
    is_fastest = options.select == ("fastest",)
    for option, is_asked in (
        ("select", is_fastest),
        ("min_speedup", options.min_speedup is not None),
    ):
        if is_asked and device.type == "cpu":
            raise OptionError(
                option,
                "Times on a CPU say nothing about a GPU, so there is nothing to decide by.",
                remedy="Use a device with CUDA, or leave it out.",
            )
    if is_fastest and options.memory_format != "channels_last_3d":
        raise OptionError("select", "There is nothing to choose when a conversion is undone.")
    if options.min_speedup is not None and options.smoke in {"layers", "none"}:
        raise OptionError(
            "min_speedup",
            f"smoke={options.smoke} measures no speed.",
            remedy="Use smoke=model or smoke=auto.",
        )


def narrow_to_fastest(case: Case) -> tuple[Plan, Choice]:
    """Choose the layers whose conversion makes the model faster on this device.

    Returns:
        The plan with the other layers kept, and how it was chosen.

    Raises:
        OptionError: If there is no GPU to measure on, or no model to measure.
        RuntimeError: If memory runs out with a small input as well.
    """
    subject = find_subject(case)
    if subject is None:
        raise no_model("select")

    def read(decision: LayerPlan) -> Tensor:
        return laid_out(case.checkpoint.read(decision.original), decision.stride_after)

    make = partial(Specimen, subject, weights_of(subject, case.plan, read), case.device)

    def attempt(halvings: int) -> Choice:
        made = partial(make, halvings=halvings)
        return choose_on_accelerator(made, _samples(made(), case, subject.batch or case.samples))

    choice, halvings = shrinking(attempt, case.device)
    choice.halvings = halvings
    layers = {name: layer for layer, name in subject.weights.items()}
    choice.layers = [layers[name] for name in choice.layers]
    return narrowed(case.plan, set(choice.layers), set(subject.weights)), choice


def _samples(specimen: Specimen, case: Case, wanted: int) -> int:
    """Return how many samples to measure with: one, if the model raises with several.

    Raises:
        OptionError: If it raises on the given input.
    """
    outcome = specimen.run(Way(wanted))
    if not isinstance(outcome, Failure):
        return wanted
    if case.options.input_shape is not None:
        raise misfit_of(case.options.input_shape, outcome)
    return 1


def narrowed(plan: Plan, chosen: set[str], measured: set[str]) -> Plan:
    """Return a plan that keeps the layers which were measured and not chosen."""
    dropped = {
        decision.name
        for decision in plan.decisions
        if decision.status == "converted" and decision.name in measured - chosen
    }
    dropped = {d.name for d in plan.decisions if d.name in dropped or d.alias_of in dropped}
    decisions = [
        replace(decision, status="kept", stride_after=decision.stride_before)
        if decision.name in dropped
        else decision
        for decision in plan.decisions
    ]
    return replace(plan, decisions=decisions)
