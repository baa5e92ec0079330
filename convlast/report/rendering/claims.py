"""The four things that a conversion has to prove, and how far each is proved."""

from __future__ import annotations

import math
from dataclasses import dataclass

from convlast.report.rendering import notation, summary
from convlast.report.rendering.summary import State, find_parity
from convlast.report.sections import (
    FileSection,
    Layer,
    Proof,
    ReportData,
    Smoke,
    Survival,
    Timing,
)


@dataclass(frozen=True)
class Claim:
    """One of the four things that a conversion has to prove, and the result."""

    title: str
    state: State
    text: str


def of_report(report: ReportData) -> list[Claim]:
    """Return the four claims and how far each is proved; for a model folder, by its worst file."""
    if report.files and (found := _claims_of_files(report)):
        return found
    return [
        _values_claim(report.proof),
        _survival_claim(report.survival),
        _smoke_claim(report.smoke, report.layers),
        _speed_claim(report.smoke.timing if report.smoke else None),
    ]


def are_made(report: ReportData) -> bool:
    """Say whether a report has proofs at all; that of `inspect` has none."""
    return bool(report.proof or report.survival or report.smoke)


def _claims_of_files(report: ReportData) -> list[Claim]:
    """Return each claim for the worst file, and for how many files with layers it is proved."""
    layers: dict[str | None, list[Layer]] = {}
    for layer in report.layers:
        layers.setdefault(layer.file, []).append(layer)
    proved = [
        (section.path, of_report(_alone(report, section, layers[section.path])))
        for section in report.files
        if section.path in layers
    ]
    gravity = ("bad", "caution", "unknown", "good").index
    found = []
    for of_files in zip(*(each for _, each in proved), strict=True):
        worst = min(range(len(of_files)), key=lambda index: gravity(of_files[index].state))
        claim, good = of_files[worst], sum(each.state == "good" for each in of_files)
        text = claim.text
        if len(of_files) > 1:
            number = notation.count(len(of_files), "checkpoint")
            text = f"{good} of {number}. {proved[worst][0]}: {text}"
        found.append(Claim(claim.title, claim.state, text))
    return found


def _alone(report: ReportData, section: FileSection, layers: list[Layer]) -> ReportData:
    """Return a section as a report without findings, which the claims do not use."""
    return report.model_copy(update={"findings": [], "layers": layers, "files": []}).model_copy(
        update={name: getattr(section, name) for name in ("proof", "survival", "smoke", "artifact")}
    )


def _values_claim(proof: Proof | None) -> Claim:
    title = "Converted exactly"
    if proof is None:
        return Claim(title, "unknown", "Nothing was written, so nothing was compared.")
    values = {
        "identical": "bit-identical values",
        "cast": "values of the input, each rounded to the new dtype",
        "different": "different values",
    }[proof.values]
    right = proof.values != "different" and proof.strides == "exact"
    right = right and proof.structure == "identical"
    text = (
        f"{notation.count(proof.tensors, 'tensor')} compared after loading: {values}, "
        f"{proof.strides} strides, {proof.structure} structure."
    )
    return Claim(title, "good" if right else "bad", text)


def _survival_claim(survival: list[Survival]) -> Claim:
    title = "Survives loading"
    tried = [route for route in survival if route.survives is not None]
    kept = [route for route in tried if route.survives]
    lost = [route.route for route in tried if not (route.survives or route.always_lost)]
    if not tried:
        return Claim(title, "unknown", "No way of loading was tried.")
    if len(tried) == 1 and not lost:
        does = "keeps" if kept else "never keeps"
        text = f"{tried[0].route} {does} the layout. No other way of loading was tried."
        return Claim(title, "good" if kept else "unknown", text)
    if len(kept) == len(tried):
        return Claim(title, "good", f"All {len(tried)} ways of loading keep the layout.")
    text = f"{len(kept)} of {len(tried)} ways of loading keep the layout"
    if not lost:
        return Claim(title, "good" if kept else "unknown", f"{text}; the others never do.")
    return Claim(title, "caution" if kept else "bad", f"{text}. Lost by: {'; '.join(lost)}.")


def _smoke_claim(smoke: Smoke | None, layers: list[Layer]) -> Claim:
    title = "Runs in fp16"
    if smoke is None or smoke.status == "skipped":
        return Claim(title, "unknown", "No fp16 inference was run.")
    states: dict[str, State] = {"passed": "good", "passed_with_findings": "caution"}
    state = states.get(smoke.status, "bad")
    parts = [f"{_what_ran(smoke, layers)}, on {smoke.device}."]
    for pair, name in (("dtype", "fp16"), ("layout", "the layout")):
        if parity := find_parity(smoke, pair):
            parts.append(
                f"Error of {name}: {notation.magnitude(parity.relative)} "
                f"(at most {notation.magnitude(parity.threshold)})."
            )
    if overflowing := sum(found.overflow > 0 for found in smoke.range):
        # Each convolution can pass alone even if a norm after it is infinite in fp16.
        state = "caution" if state == "good" else state
        parts.append(f"Beyond the range of fp16: {notation.count(overflowing, 'tensor')}.")
    return Claim(title, state, " ".join(parts))


def _what_ran(smoke: Smoke, layers: list[Layer]) -> str:
    """Say what was run, on inputs of which shape."""
    if smoke.scope == "model":
        shape = f" on {notation.shape(smoke.input_shape)}" if smoke.input_shape else ""
        return f"The whole model{shape}"
    shapes = [
        layer.smoke.input_shape for layer in layers if layer.smoke and layer.smoke.input_shape
    ]
    if not shapes:
        return "Each convolution alone"
    largest = notation.shape(max(shapes, key=math.prod))
    return f"Each convolution alone, inputs up to {largest}"


def _speed_claim(timing: Timing | None) -> Claim:
    title = "Pays on this device"
    if timing is None:
        return Claim(title, "unknown", "Speed was not measured.")
    text = (
        f"{timing.speedup:.2f} times as fast (± {timing.spread:.2f}): "
        f"{notation.duration(timing.contiguous_s)} contiguous, "
        f"{notation.duration(timing.converted_s)} converted."
    )
    if not timing.representative:
        return Claim(title, "unknown", f"{text} On a CPU this says nothing about a GPU.")
    return Claim(title, summary.state_of(timing), text)
