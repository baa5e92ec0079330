"""The smoke of one file: of the whole model where there is one to run, else of each layer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from convlast.architectures import Case, Subject, find_subject
from convlast.architectures.search import channels_wanted
from convlast.architectures.time_limit import TimeLimit, TimeUp
from convlast.devices import troubles_on
from convlast.errors import ArchitectureError, OptionError
from convlast.findings import conversion as findings
from convlast.findings import smoke as smoke_findings
from convlast.options import Options
from convlast.planning.plan import Plan
from convlast.report import Finding, LayerSmoke, Smoke
from convlast.report.smoke import Choice, Magnitudes
from convlast.smoke.file import Read, audit_ranges, smoke_layers, summarise_smoke
from convlast.smoke.fp16_range import is_worth_telling
from convlast.smoke.layers import is_too_small
from convlast.smoke.model.events import Failure
from convlast.smoke.model.model_judgement import located
from convlast.smoke.model.outputs import NothingToCompare
from convlast.smoke.model.specimen import Weights
from convlast.smoke.model.ways import Request
from convlast.smoke.model.whole import ModelSmoke, smoke_model
from convlast.smoke.out_of_memory import is_out_of_memory


@dataclass
class Inference:
    """What the smoke of one file found.

    Attributes:
        smoke: For the report.
        layers: What each layer gave, by its name.
        findings: What a person should know.
        plan: The plan, with what the model says of its layers.
        misfit: Why the model does not run on the given input, which fits no model so far.
    """

    smoke: Smoke
    layers: dict[str, LayerSmoke]
    findings: list[Finding]
    plan: Plan
    misfit: OptionError | None = None


def infer(case: Case, read: Read, choice: Choice | None) -> Inference:
    """Run the fp16 inference that the options ask for.

    Args:
        case: What it is about.
        read: Reads a weight from the artifact.
        choice: How `select=fastest` chose, if it did.

    Raises:
        OptionError: If the whole model is asked for and cannot be run, or not on the given input.
        ArchitectureError: If an architecture is asked for that is not allowed, or does not fit.
    """
    options, device = case.options, case.device
    case = replace(case, time_limit=TimeLimit.of(options.smoke_seconds))
    if options.smoke == "none":
        smoke = Smoke(scope="none", dtype="float16", device=str(device), status="skipped")
        return Inference(smoke, {}, [], case.plan)
    subject, reason = _subject_or_reason(case)
    case = replace(case, plan=case.plan.told(case.declared))
    found = misfit = None
    if subject is not None:
        found, reason = _model_or_reason(case, subject, read)
    if found is not None and found.failure is not None and options.input_shape is not None:
        misfit, found = misfit_of(options.input_shape, found.failure), None
        if not case.is_member:
            raise misfit
        reason = str(misfit)
    inference = _of_model(case, found) if found else _of_layers(case, read, reason)
    inference.misfit = misfit
    inference.smoke.choice = choice
    inference.findings.extend(smoke_findings.of_choice(choice))
    audited = audit_ranges(case.checkpoint, case.plan)
    told = [found for found in audited if is_worth_telling(found)]
    inference.smoke.range = told
    inference.smoke.magnitudes = [
        Magnitudes(name=found.name, absmax=found.absmax, absmin=found.absmin) for found in audited
    ]
    inference.findings.extend(findings.of_ranges(told, case.plan.dtype))
    inference.findings.extend(smoke_findings.of_troubles(troubles_on(device)))
    return inference


def weights_of(subject: Subject, plan: Plan, read: Read) -> Weights:
    """Return the readers of the converted weights, by the names of the module's parameters."""
    return {
        subject.weights[decision.name]: partial(read, decision)
        for decision in plan.decisions
        if decision.status in {"converted", "already"} and decision.name in subject.weights
    }


def _subject_or_reason(case: Case) -> tuple[Subject | None, str]:
    """Find the model, or say why there is none; what is asked for by name must be found."""
    options = case.options
    if options.smoke == "layers":
        return None, ""
    must = _must_run_model(options)
    try:
        subject = find_subject(case)
    except (ArchitectureError, OptionError) as error:
        if must:
            raise
        return None, str(error)
    except TimeUp:
        return None, "smoke_seconds ran out before an input was found that the model runs on."
    if subject is None and must:
        raise no_model("smoke" if options.min_speedup is None else "min_speedup")
    return subject, "nothing in the file says what model it is for. Give architecture."


def _must_run_model(options: Options) -> bool:
    return bool(options.smoke == "model" or options.architecture or options.min_speedup is not None)


def no_model(option: str) -> OptionError:
    """Return the error for an option that needs a model where none is known."""
    return OptionError(
        option,
        "Nothing in the file says what model it is for, and this needs one to run.",
        remedy="Give architecture, e.g. architecture=torchvision.models.video.r3d_18.",
    )


def misfit_of(shape: tuple[int, ...], failure: Failure) -> OptionError:
    """Return the error for an input that was given and that the model does not run on."""
    wanted = channels_wanted(failure.message, shape[1])
    if wanted in {None, shape[1]}:
        remedy = "Give an input_shape that the model takes, or leave it out."
        return OptionError(
            "input_shape", f"The model does not run on {shape}: {located(failure)}.", remedy=remedy
        )
    right = ",".join(map(str, (shape[0], wanted, *shape[2:])))
    return OptionError(
        "input_shape",
        f"The model does not run on {shape}: it needs {wanted} "
        f"{'channel' if wanted == 1 else 'channels'}.",
        remedy=f"Give input_shape={right}, or leave it out.",
    )


def _model_or_reason(case: Case, subject: Subject, read: Read) -> tuple[ModelSmoke | None, str]:
    """Run the model; where memory does not even suffice for a small input, say so.

    That never costs the artifact, not even where the whole model was asked for.

    Raises:
        OptionError: If the model is asked for, and returns nothing that can be compared.
    """
    try:
        found = smoke_model(
            subject,
            weights_of(subject, case.plan, read),
            case.device,
            Request(
                samples=subject.batch or case.samples,
                tries_other=subject.batch is None,
                takes_one=case.options.input_shape is None,
                memory_format=case.options.memory_format,
                limit=case.time_limit,
            ),
            case.progress,
        )
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return None, "memory does not suffice for the whole model, even on a small input."
    except NothingToCompare:
        message = "The model returns no floating-point tensor, so its results cannot be compared."
        remedy = "Name a method that returns one (entry_point), or use smoke=layers."
        if _must_run_model(case.options):
            raise OptionError("entry_point", message, remedy=remedy) from None
        return None, f"{message} {remedy}"
    return found, ""


def _of_model(case: Case, found: ModelSmoke) -> Inference:
    told = list(smoke_findings.of_model(found))
    told += smoke_findings.of_speed(found.smoke, case.options.min_speedup)
    return Inference(found.smoke, found.layers, told, case.plan)


def _of_layers(case: Case, read: Read, reason: str) -> Inference:
    layers = smoke_layers(case, read)
    if case.options.input_shape and layers and all(map(is_too_small, layers.values())):
        raise OptionError(
            "input_shape",
            "No layer can be run on it: it is too small for every kernel.",
            remedy="Give a larger input_shape, or leave it out.",
        )
    smoke = summarise_smoke(layers, case.device)
    told = list(findings.of_smokes(layers, smoke.dtype))
    if reason:
        smoke.reason = reason
        told.append(smoke_findings.of_layers_only(reason, were_run=bool(layers)))
    wanted = [decision for decision in case.plan.decisions if decision.status != "skipped"]
    if case.time_limit.is_up() and len(layers) < len(wanted):
        told.append(
            smoke_findings.of_time(
                f"{len(wanted) - len(layers)} of {len(wanted)} layers were not run",
                nothing_ran=not layers,
            )
        )
    told += smoke_findings.of_speed(smoke, case.options.min_speedup)
    return Inference(smoke, layers, told, case.plan)
