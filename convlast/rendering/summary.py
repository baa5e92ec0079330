"""A report in a few words: the four claims, counts of layers, and grouped findings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from convlast.rendering import notation
from convlast.report import (
    FileSection,
    Finding,
    Layer,
    LayerSmoke,
    Parity,
    Proof,
    Report,
    Severity,
    Smoke,
    Status,
    Survival,
    Timing,
    Verdict,
)

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
    "kept": "kept, not selected",
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


def claims(report: Report) -> list[Claim]:
    """Return the four claims and how far each is proved; for a model folder, by its worst file."""
    if report.files:
        return _claims_of_files(report)
    return [
        _values_claim(report.proof),
        _survival_claim(report.survival),
        _smoke_claim(report.smoke),
        _speed_claim(report.smoke.timing if report.smoke else None),
    ]


def told_sections(report: Report) -> list[FileSection]:
    """Return the files of a model folder that have layers or findings."""
    told = {layer.file for layer in report.layers} | {found.file for found in report.findings}
    return [section for section in report.files if section.path in told]


def findings_of_none(report: Report) -> list[Finding]:
    """Return the findings of a model folder that are not about one of its files."""
    return [found for found in report.findings if found.file is None]


def _claims_of_files(report: Report) -> list[Claim]:
    """Return each claim for the worst file, and for how many files it is proved."""
    paths = {layer.file for layer in report.layers}
    proved = [
        (section.path, claims(_bare(report, section)))
        for section in report.files
        if section.path in paths
    ]
    gravity = ("bad", "caution", "unknown", "good").index
    found = []
    for of_files in zip(*(each for _, each in proved), strict=True):
        worst = min(range(len(of_files)), key=lambda index: gravity(of_files[index].state))
        claim, good = of_files[worst], sum(each.state == "good" for each in of_files)
        text = f"{proved[worst][0]}: {claim.text}"
        if len(of_files) > 1:
            text = f"{good} of {notation.count(len(of_files), 'checkpoint')}. {text}"
        found.append(Claim(claim.title, claim.state, text))
    return found


def _bare(report: Report, section: FileSection) -> Report:
    """Return a section as a report without layers and findings, which the claims do not use."""
    return report.model_copy(update={"findings": [], "layers": [], "files": []}).model_copy(
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
    lost = [route.route for route in tried if not route.survives]
    if not tried:
        return Claim(title, "unknown", "No way of loading was tried.")
    if len(tried) == 1 and not lost:
        text = f"{tried[0].route} keeps the layout. No other way of loading was tried."
        return Claim(title, "good", text)
    if not lost:
        return Claim(title, "good", f"All {len(tried)} ways of loading keep the layout.")
    state: State = "bad" if len(lost) == len(tried) else "caution"
    text = f"{len(tried) - len(lost)} of {len(tried)} ways of loading keep the layout."
    return Claim(title, state, f"{text} Lost by: {'; '.join(lost)}.")


def _smoke_claim(smoke: Smoke | None) -> Claim:
    title = "Runs in fp16"
    if smoke is None or smoke.status == "skipped":
        return Claim(title, "unknown", "No fp16 inference was run.")
    states: dict[str, State] = {"passed": "good", "passed_with_findings": "caution"}
    state = states.get(smoke.status, "bad")
    what = "The whole model" if smoke.scope == "model" else "Each convolution alone"
    parts = [f"{what}, {smoke.dtype}, on {smoke.device}."]
    for pair, name in (("dtype", "Against fp32"), ("layout", "Between the layouts")):
        if parity := find_parity(smoke, pair):
            parts.append(
                f"{name}: {notation.magnitude(parity.relative)} "
                f"(at most {notation.magnitude(parity.threshold)})."
            )
    if overflowing := sum(found.overflow > 0 for found in smoke.range):
        # Each convolution can pass alone even if a norm after it is infinite in fp16.
        state = "caution" if state == "good" else state
        parts.append(f"Beyond the range of fp16: {notation.count(overflowing, 'tensor')}.")
    return Claim(title, state, " ".join(parts))


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
