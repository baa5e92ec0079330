"""A report in a few words: the four claims, counts of layers, and grouped findings."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from convlast.report.codes import FINDINGS
from convlast.report.listing import listed
from convlast.report.rendering import notation
from convlast.report.sections import (
    FileSection,
    Finding,
    Layer,
    LayerSmoke,
    Parity,
    Proof,
    ReportData,
    Severity,
    Smoke,
    Status,
    Survival,
    Timing,
    Verdict,
)
from convlast.report.smoke import UNDERFLOW_SHARE, Activation, Range, has_little_headroom

_MAX_NAMED = 3
"""The most layers or files that several findings name together."""

State = Literal["good", "caution", "bad", "unknown"]

VERDICTS: dict[Verdict, str] = {
    "passed": "Passed",
    "passed_with_findings": "Passed with findings",
    "failed": "Failed",
}

VERDICT_STATES: dict[Verdict, State] = {
    "passed": "good",
    "passed_with_findings": "caution",
    "failed": "bad",
}

STATUSES: dict[Status, str] = {
    "converted": "converted",
    "convertible": "can be converted",
    "already": "already so",
    "kept": "not selected",
    "skipped": "skipped",
}

DECISIONS = {
    "convert": "Use the converted file.",
    "convert_some": "Convert some of the layers.",
    "keep": "Keep your file.",
    "undecided": "Measure on a GPU before you decide.",
}


@dataclass(frozen=True)
class Claim:
    """One of the four things that a conversion has to prove, and the result."""

    title: str
    state: State
    text: str


@dataclass(frozen=True)
class FindingGroup:
    """The findings with the same code."""

    code: str
    severity: Severity
    findings: tuple[Finding, ...]


def claims(report: ReportData) -> list[Claim]:
    """Return the four claims and how far each is proved; for a model folder, by its worst file."""
    if report.files:
        return _claims_of_files(report)
    return [
        _values_claim(report.proof),
        _survival_claim(report.survival),
        _smoke_claim(report.smoke, report.layers),
        _speed_claim(report.smoke.timing if report.smoke else None),
    ]


def claims_anything(report: ReportData) -> bool:
    """Say whether a report has proofs at all; that of `inspect` has none."""
    return bool(report.proof or report.survival or report.smoke)


def outcome(report: ReportData) -> str:
    """Say in a sentence what became of the input.

    The times of the stages are summed, since a person wants to know how long it took.
    """
    spent = sum(report.seconds.values())
    took = f", in {notation.duration(spent)}" if spent else ""
    parts = [f"{report.input.filename}, {said_of_layers(report.layers) or 'no convolution weight'}"]
    if report.artifact is not None and report.artifact.unchanged:
        parts.append(f"nothing had to change: {report.artifact.filename} is a copy")
    if report.artifact is None and report.proof is not None:
        parts.append("nothing was written")
    return f"{', '.join(parts)}{took}."


def said_of_layers(layers: Iterable[Layer]) -> str:
    """Count the layers of each status, in words; empty if there is none."""
    counts = count_statuses(layers)
    said = [f"{number:,} {STATUSES[status]}" for status, number in counts.items()]
    if len(said) > 1:
        return f"{notation.count(sum(counts.values()), 'layer')} ({', '.join(said)})"
    return "".join(
        f"{notation.count(number, 'layer')} {STATUSES[status]}" for status, number in counts.items()
    )


def told_sections(report: ReportData) -> list[FileSection]:
    """Return the files of a model folder that have layers or findings."""
    told = {layer.file for layer in report.layers} | {found.file for found in report.findings}
    return [section for section in report.files if section.path in told]


def findings_of_none(report: ReportData) -> list[Finding]:
    """Return the findings of a model folder that are not about one of its files."""
    return [found for found in report.findings if found.file is None]


def _claims_of_files(report: ReportData) -> list[Claim]:
    """Return each claim for the worst file, and for how many files it is proved."""
    layers: dict[str | None, list[Layer]] = {}
    for layer in report.layers:
        layers.setdefault(layer.file, []).append(layer)
    proved = [
        (section.path, claims(_alone(report, section, layers[section.path])))
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


def group_findings(findings: Iterable[Finding]) -> list[FindingGroup]:
    """Group findings by code, the most severe first, otherwise in the report's order."""
    groups: dict[tuple[Severity, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.severity, finding.code), []).append(finding)
    gravity = get_args(Severity).index
    return [
        FindingGroup(code, severity, tuple(found))
        for (severity, code), found in sorted(groups.items(), key=lambda item: gravity(item[0][0]))
    ]


def in_words(group: FindingGroup) -> str:
    """Say what several findings of one kind have in common, about what they are, and the cure."""
    first, number, kind = group.findings[0], f"{len(group.findings):,}", FINDINGS.get(group.code)
    if len(group.findings) == 1:
        return told(first)
    if kind is None:  # of a later version
        return f"{told(first)} And {len(group.findings) - 1:,} more."
    said = f"{number} {kind.many}" if kind.many else f"{number} times: {kind.meaning[:-1]}"
    names = [found.layer or found.file for found in group.findings]
    about = listed([name for name in names if name], at_most=_MAX_NAMED)
    text = f"{group.code}: {said}{f': {about}' if about else ''}. {kind.cure}"
    return text.rstrip().replace("`", "")


def told(finding: Finding) -> str:
    """Return a finding in words."""
    subject = subject_of(finding)
    return f"{finding.code}: {f'{subject}: ' if subject else ''}{finding.message}"


def subject_of(finding: Finding) -> str | None:
    """Return the layer to name before the message; None if the message names it itself."""
    return None if finding.layer is None or finding.layer in finding.message else finding.layer


def count_statuses(layers: Iterable[Layer]) -> dict[Status, int]:
    """Count the layers of each status that occurs."""
    found = Counter(layer.status for layer in layers)
    return {status: found[status] for status in STATUSES if found[status]}


def count_assumptions(layers: Iterable[Layer]) -> dict[str, int]:
    """Count the layers for each assumption that the smoke had to make, the commonest first."""
    found = Counter(text for layer in layers if layer.smoke for text in layer.smoke.assumed)
    return dict(found.most_common())


def is_troubled(layer: Layer) -> bool:
    """Say whether this layer should be shown first, because it has a problem."""
    return layer.status == "skipped" or (
        layer.smoke is not None and layer.smoke.status in {"inaccurate", "failed"}
    )


def is_near_limit(found: Range | Activation) -> bool:
    """Say whether values are close to the end of fp16's range, or many of them vanish."""
    return has_little_headroom(found.headroom) or found.underflow_share > UNDERFLOW_SHARE


def find_parity(smoke: Smoke | LayerSmoke | None, pair: str) -> Parity | None:
    """Return the parity of one pair; None if it was not compared."""
    return next((found for found in smoke.parity if found.pair == pair), None) if smoke else None


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
    return Claim(title, "good" if timing.speedup > 1 else "caution", text)
