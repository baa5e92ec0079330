"""The smoke of a whole model: run it, judge the runs, and look for remedies."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch

from convlast.architectures.subject import Subject
from convlast.architectures.time_limit import TimeUp
from convlast.progress import Progress, silent
from convlast.report import LayerSmoke, Parity
from convlast.report.smoke import FirstWrong, Smoke
from convlast.smoke.model.events import Failure
from convlast.smoke.model.measuring import measure
from convlast.smoke.model.model_judgement import Fault, Runs, distinct, judge, status_of, words
from convlast.smoke.model.outputs import Outputs
from convlast.smoke.model.readings import Pair, activations_of, first_wrong, pairs_of
from convlast.smoke.model.remedies import judge_layout_in_float32, try_bfloat16, try_float32
from convlast.smoke.model.specimen import Specimen, Way, Weights
from convlast.smoke.model.ways import Request, Ways
from convlast.smoke.out_of_memory import shrinking
from convlast.smoke.parity import DTYPE_THRESHOLD, LAYOUT_THRESHOLD
from convlast.smoke.precision import name_on


@dataclass
class ModelSmoke:
    """The result of the smoke of a whole model.

    Attributes:
        smoke: For the report.
        layers: The result of each convolution inside the model, by the name of its layer.
        faults: The faults that were found.
        halvings: How many times the spatial extents of the input had to be halved.
        left_out: What there was no time for, in words.
        failure: How the model raises in fp32, contiguous, if it does.
    """

    smoke: Smoke
    layers: dict[str, LayerSmoke]
    faults: list[Fault]
    halvings: int = 0
    left_out: list[str] = field(default_factory=list)
    failure: Failure | None = None


def smoke_model(
    subject: Subject,
    converted: Weights,
    device: torch.device,
    request: Request,
    progress: Progress = silent,
) -> ModelSmoke:
    """Run a whole model in fp16, contiguous and converted, against fp32, and judge it.

    If memory runs out, a smaller input is tried, and if the model raises with several samples, one
    sample; the reason says so. When the time is up, what was run by then is judged.

    Args:
        subject: The model.
        converted: Its converted weights.
        device: Where it runs.
        request: What to run and judge.
        progress: Called before each run.

    Raises:
        DeviceLostError: If the device can no longer be used.
        RuntimeError: If memory runs out even with the smallest input.
    """

    def attempt(halvings: int) -> ModelSmoke:
        specimen = Specimen(subject, converted, device, halvings, request.limit)
        return _smoke(specimen, request, progress)

    found, halvings = shrinking(attempt, device)
    found.halvings = halvings
    if halvings:
        _explain(found.smoke, f"memory ran out; the input was halved {halvings} times")
    if found.left_out:
        left = ", ".join(found.left_out)
        _explain(found.smoke, f"smoke_seconds={request.limit.seconds:g} ran out; not run: {left}")
    return found


def _smoke(specimen: Specimen, request: Request, progress: Progress) -> ModelSmoke:
    ways = Ways(specimen, request, progress)
    failure = ways.run().reference
    if not isinstance(failure, Failure) or request.samples == 1 or not request.takes_one:
        return _judged(ways)
    alone = Ways(specimen, replace(request, samples=1, tries_other=False), progress)
    if isinstance(alone.run().reference, Failure):
        return _judged(ways)
    found = _judged(alone)
    _explain(
        found.smoke, f"one sample was run, since {request.samples} samples raise: {failure.message}"
    )
    return found


def _judged(ways: Ways) -> ModelSmoke:
    """Judge the runs, look into what is wrong, and measure."""
    specimen, seen, runs = ways.specimen, ways.seen, ways.runs
    judgement = judge(runs, ways.request.samples)
    pairs = list(pairs_of(seen.exact, seen.contiguous))
    layouts = list(pairs_of(seen.contiguous, seen.converted))
    smoke = _outline(ways, pairs)
    faults = _located(distinct(judgement.faults), layouts)
    smoke.parity = judgement.parity
    try:
        if isinstance(runs.reference, dict) and _is_in_doubt(faults, runs):
            smoke.parity += _look_into_float16(ways, smoke, faults, runs.reference, pairs)
        if runs.have_both_layouts:
            measure(ways, smoke)
    except TimeUp:
        ways.left_out.append("remedies and times")
    smoke.status = status_of(faults)
    if smoke.status == "passed" and not runs.have_both_layouts:
        smoke.status = "skipped"
    elif smoke.status == "skipped":
        _explain(smoke, next(fault.message for fault in faults if fault.blame == "reference"))
    return ModelSmoke(
        smoke,
        _layers(specimen, pairs, layouts),
        faults,
        left_out=ways.left_out,
        failure=runs.reference if isinstance(runs.reference, Failure) else None,
    )


def _explain(smoke: Smoke, reason: str) -> None:
    """Add to the reason."""
    smoke.reason = f"{smoke.reason}; {reason}" if smoke.reason else reason


def _outline(ways: Ways, pairs: list[Pair]) -> Smoke:
    """Return the smoke with what was run and observed, before the verdict."""
    specimen, seen = ways.specimen, ways.seen
    return Smoke(
        scope="model",
        dtype=name_on(specimen.device),
        device=str(specimen.device),
        status="passed",
        model=specimen.subject.name,
        origin=specimen.subject.origin,
        entry=specimen.subject.entry,
        input_shape=specimen.input_shape(ways.request.samples),
        activations=activations_of(seen.exact, pairs),
        flips=seen.trace.flips(),
        trace=seen.trace.steps(),
        permutations=seen.trace.permutations if isinstance(ways.runs.converted, dict) else None,
        hints=list(seen.hints.words()),
    )


def _is_in_doubt(faults: list[Fault], runs: Runs) -> bool:
    """Say whether fp16 itself is at fault, so that its runs say little about the layout."""
    return isinstance(runs.contiguous, Failure) or any(fault.blame == "dtype" for fault in faults)


def _look_into_float16(
    ways: Ways, smoke: Smoke, faults: list[Fault], reference: Outputs, pairs: list[Pair]
) -> list[Parity]:
    """Find where fp16 goes wrong, whether the layout is right in fp32, and which remedy helps."""
    way, old = Way(ways.request.samples), ways.specimen
    wrong = first_wrong(pairs, DTYPE_THRESHOLD)
    if wrong is not None:
        smoke.first_wrong = _first_wrong(wrong)
    fresh = Specimen(old.subject, old.converted, old.device, old.halvings, old.limit)
    layout, fault = judge_layout_in_float32(fresh, reference, way)
    if fault is not None:
        faults.append(fault)
    fresh.lay_out(())
    parities = [layout, try_bfloat16(fresh, reference, way)]
    del fresh
    if old.subject.takes_hooks and pairs:
        names = [pair.reference.place.name for pair in pairs if pair.is_wrong(DTYPE_THRESHOLD)]
        fresh = Specimen(old.subject, old.converted, old.device, old.halvings, old.limit)
        smoke.kept_in_float32 = try_float32(fresh, reference, ways.seen.exact, names, way)
        parities.append(smoke.kept_in_float32.parity)
    known = [parity for parity in parities if parity is not None]
    return [parity.model_copy(update={"samples": ways.request.samples}) for parity in known]


def _first_wrong(pair: Pair) -> FirstWrong:
    place = pair.reference.place
    if pair.actual.is_finite:
        message = f"off by {pair.relative or 0:.1%} of its own scale"
    else:
        message = f"not finite in float16; in float32 at most {pair.reference.absmax:.3g}"
    return FirstWrong(module=place.name, kind=place.kind, message=message)


def _located(faults: list[Fault], layouts: list[Pair]) -> list[Fault]:
    """Add the first module whose result depends on the layout to the layout faults without one."""
    wrong = first_wrong(layouts, LAYOUT_THRESHOLD)
    if wrong is None:
        return faults
    place = wrong.reference.place
    tail = f"the first module that does is {place.name} ({place.kind})"
    return [
        replace(fault, message=f"{fault.message}; {tail}", failure=Failure(fault.message, place))
        if fault.blame == "layout" and fault.failure is None
        else fault
        for fault in faults
    ]


def _layers(specimen: Specimen, pairs: list[Pair], layouts: list[Pair]) -> dict[str, LayerSmoke]:
    """Return the result of each convolution inside the model, by the name of its layer."""
    dtype_of = {pair.reference.place.name: pair for pair in pairs}
    layout_of = {pair.reference.place.name: pair for pair in layouts}
    owners = specimen.owners()
    return {
        layer: _layer_smoke(dtype_of[owner], layout_of.get(owner))
        for layer, name in specimen.subject.weights.items()
        if (owner := owners.get(name)) in dtype_of and owner is not None
    }


def _layer_smoke(dtype: Pair, layout: Pair | None) -> LayerSmoke:
    parity = dtype.parity("dtype", DTYPE_THRESHOLD)
    smoke = LayerSmoke(
        status="passed", input_shape=list(dtype.reference.input_shape), parity=[parity]
    )
    if not parity.passed:
        smoke.status, smoke.reason = "inaccurate", f"float16 is at fault: {words(parity)}"
    if layout is not None:
        smoke.parity.append(layout.parity("layout", LAYOUT_THRESHOLD))
        smoke.finite = layout.actual.is_finite
        smoke.output_memory_format = layout.actual.memory_format
    return smoke
