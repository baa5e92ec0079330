"""A report in a few words: the four claims, counts of layers, and grouped findings."""

from __future__ import annotations

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
    ReportData,
    Severity,
    Smoke,
    Status,
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
class FindingGroup:
    """The findings with the same code."""

    code: str
    severity: Severity
    findings: tuple[Finding, ...]


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


def origin(report: ReportData) -> str:
    """Say when the report was made, and which job, request and trace it belongs to."""
    facts = {
        "": report.made_at,
        "job ": report.job_id,
        "request ": report.request_id,
        "trace ": report.trace_id,
    }
    return " · ".join(f"{name}{value}" for name, value in facts.items() if value)


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


def state_of(timing: Timing) -> State:
    """Return the state of a measured gain: good, caution for a loss, unknown within the noise."""
    states: dict[int, State] = {1: "good", 0: "unknown", -1: "caution"}
    return states[timing.tendency]
