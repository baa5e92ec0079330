"""The smoke of one file: of the whole model where there is one to run, else of each layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias

import torch
from torch import Tensor

from convlast import findings, smoke_findings
from convlast.architectures import Spec, Subject, find_subject
from convlast.checkpoints import Checkpoint
from convlast.devices import troubles_on
from convlast.errors import ArchitectureError, OptionError
from convlast.options import Options
from convlast.plan import Decision, Plan
from convlast.progress import Progress
from convlast.report import Finding, LayerSmoke, Smoke
from convlast.smoke.file import audit_ranges, smoke_layers, summarise_smoke
from convlast.smoke.memory import is_out_of_memory, shrinking
from convlast.smoke.model.choosing import choose_on_accelerator
from convlast.smoke.model.specimen import Specimen, Weights
from convlast.smoke.model.ways import Request
from convlast.smoke.model.whole import ModelSmoke, smoke_model
from convlast.smoke_report import Choice

Read: TypeAlias = Callable[[Decision], Tensor]
"""Reads a weight with the strides that the plan gives it."""

SAMPLES = 2
"""N of the model's input; what breaks on layouts breaks from two on."""


@dataclass(frozen=True)
class Context:
    """What the smoke of one file is about.

    Attributes:
        checkpoint: The original.
        plan: What is done to it.
        options: What was asked for.
        device: Where it runs.
        progress: Told how far it is.
        prefixes: The modules that an architecture may come from; None for the default ones.
        spec: What the files beside the checkpoint say of its model.
    """

    checkpoint: Checkpoint
    plan: Plan
    options: Options
    device: torch.device
    progress: Progress
    prefixes: Sequence[str] | None = None
    spec: Spec | None = None


@dataclass(frozen=True)
class Inference:
    """What the smoke of one file found.

    Attributes:
        smoke: For the report.
        layers: What each layer gave, by its name.
        findings: What a person should know.
    """

    smoke: Smoke
    layers: dict[str, LayerSmoke]
    findings: list[Finding]


def infer(context: Context, read: Read, *, is_cast: bool, choice: Choice | None) -> Inference:
    """Run the fp16 inference that the options ask for.

    Args:
        context: What it is about.
        read: Reads a weight from the artifact.
        is_cast: Whether the artifact is in fp16.
        choice: How `select=fastest` chose, if it did.

    Raises:
        OptionError: If the whole model is asked for and cannot be run.
        ArchitectureError: If an architecture is asked for that is not allowed, or does not fit.
    """
    options, device = context.options, context.device
    if options.smoke == "none":
        smoke = Smoke(scope="none", dtype="float16", device=str(device), status="skipped")
        return Inference(smoke, {}, [])
    subject, reason = _subject_or_reason(context)
    found = None
    if subject is not None:
        found, reason = _model_or_reason(context, subject, read)
    inference = _of_model(context, found) if found else _of_layers(context, read, reason)
    inference.smoke.choice = choice
    inference.findings.extend(smoke_findings.of_choice(choice))
    ranges = audit_ranges(context.checkpoint, context.plan)
    inference.smoke.range = ranges
    inference.findings.extend(findings.of_ranges(ranges, is_cast=is_cast))
    inference.findings.extend(smoke_findings.of_troubles(troubles_on(device)))
    return inference


def narrow_to_fastest(context: Context) -> tuple[Plan, Choice]:
    """Choose the layers whose conversion makes the model faster on this device.

    Returns:
        The plan with the other layers kept, and how it was chosen.

    Raises:
        OptionError: If there is no GPU to measure on, or no model to measure.
        RuntimeError: If memory runs out with a small input as well.
    """
    subject = find_subject(
        context.checkpoint,
        context.plan,
        context.options,
        prefixes=context.prefixes,
        spec=context.spec,
        device=context.device,
    )
    if subject is None:
        raise _no_model("select")

    def read(decision: Decision) -> Tensor:
        weight = context.checkpoint.read(decision.original)
        laid_out = torch.empty_strided(weight.shape, decision.stride_after, dtype=weight.dtype)
        return laid_out.copy_(weight)

    make = partial(Specimen, subject, weights_of(subject, context.plan, read), context.device)

    def attempt(halvings: int) -> Choice:
        return choose_on_accelerator(partial(make, halvings=halvings), _samples(context.options))

    choice, halvings = shrinking(attempt, context.device)
    choice.halvings = halvings
    layers = {name: layer for layer, name in subject.weights.items()}
    choice.layers = [layers[name] for name in choice.layers]
    return narrowed(context.plan, set(choice.layers), set(subject.weights)), choice


def narrowed(plan: Plan, chosen: set[str], measured: set[str]) -> Plan:
    """Return a plan that keeps the layers which were measured and not chosen."""
    dropped = {
        decision.name
        for decision in plan.decisions
        if decision.status == "converted" and decision.name in measured - chosen
    }
    dropped = {d.name for d in plan.decisions if d.name in dropped or d.alias_of in dropped}
    decisions = [
        replace(decision, status="kept", stride_after=decision.original.stride())
        if decision.name in dropped
        else decision
        for decision in plan.decisions
    ]
    return replace(plan, decisions=decisions)


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


def weights_of(subject: Subject, plan: Plan, read: Read) -> Weights:
    """Return the readers of the converted weights, by the names of the module's parameters."""
    return {
        subject.weights[decision.name]: partial(read, decision)
        for decision in plan.decisions
        if decision.status in {"converted", "already"} and decision.name in subject.weights
    }


def _subject_or_reason(context: Context) -> tuple[Subject | None, str]:
    """Find the model, or say why there is none; what is asked for by name must be found."""
    options = context.options
    if options.smoke == "layers":
        return None, ""
    must = options.smoke == "model" or options.architecture or options.min_speedup is not None
    try:
        subject = find_subject(
            context.checkpoint,
            context.plan,
            options,
            prefixes=context.prefixes,
            spec=context.spec,
            device=context.device,
        )
    except (ArchitectureError, OptionError) as error:
        if must:
            raise
        return None, str(error)
    if subject is None and must:
        raise _no_model("smoke" if options.min_speedup is None else "min_speedup")
    return subject, "nothing in the file says what model it is for. Give architecture."


def _no_model(option: str) -> OptionError:
    return OptionError(
        option,
        "Nothing in the file says what model it is for, and this needs one to run.",
        remedy="Give architecture, e.g. architecture=torchvision.models.video.r3d_18.",
    )


def _model_or_reason(
    context: Context, subject: Subject, read: Read
) -> tuple[ModelSmoke | None, str]:
    """Run the model; where memory does not even suffice for a small input, say so.

    That never costs the artifact, not even where the whole model was asked for.
    """
    try:
        found = smoke_model(
            subject,
            weights_of(subject, context.plan, read),
            context.device,
            Request(
                samples=_samples(context.options),
                needs_batches=_asked(context.options) > 1,
                memory_format=context.options.memory_format,
            ),
            context.progress,
        )
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return None, "memory does not suffice for the whole model, even on a small input."
    return found, ""


def _of_model(context: Context, found: ModelSmoke) -> Inference:
    told = list(smoke_findings.of_model(found))
    told += smoke_findings.of_speed(found.smoke, context.options.min_speedup)
    return Inference(found.smoke, found.layers, told)


def _of_layers(context: Context, read: Read, reason: str) -> Inference:
    layers = smoke_layers(
        context.checkpoint,
        context.plan,
        read,
        context.device,
        context.options.input_shape,
        context.progress,
    )
    smoke = summarise_smoke(layers, [], context.device)
    told = list(findings.of_smokes(layers, smoke.dtype))
    if reason:
        smoke.reason = reason
        told.append(smoke_findings.of_layers_only(reason))
    told += smoke_findings.of_speed(smoke, context.options.min_speedup)
    return Inference(smoke, layers, told)


def _asked(options: Options) -> int:
    """Return N of the input that is asked for."""
    return options.input_shape[0] if options.input_shape else SAMPLES


def _samples(options: Options) -> int:
    return max(SAMPLES, _asked(options))
