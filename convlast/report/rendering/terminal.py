"""The report in a terminal: short, with the verdict first and what to do with the file last.

All text from the file (names of files and tensors) passes `paragraph.plain`, and is never markup: a
tensor's key must not move the cursor.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.console import Group, RenderableType
from rich.text import Text

from convlast.report.rendering import claims, layer_lines, notation, summary
from convlast.report.rendering.paragraph import Paragraph, below, code, plain
from convlast.report.sections import (
    Advice,
    Artifact,
    Environment,
    FileSection,
    Finding,
    InputFile,
    ReportData,
    Severity,
)

MAX_FILES = 20
"""The most files of a model folder that are shown without being asked."""

_STATE_STYLES: dict[summary.State, str] = {
    "good": "green",
    "caution": "yellow",
    "bad": "bold red",
    "unknown": "dim",
}
_STATE_MARKS: dict[summary.State, str] = {"good": "✓", "caution": "!", "bad": "✗", "unknown": "–"}
_SEVERITY_STYLES: dict[Severity, str] = {"error": "bold red", "warning": "yellow", "info": "dim"}
_CLAIM_WIDTH, _SEVERITY_WIDTH, _FACT_WIDTH = 22, 9, 10


def render(
    report: ReportData, *, verbose: bool = False, place: str | None = None
) -> RenderableType:
    """Render a report for a terminal.

    Args:
        report: The report to show.
        verbose: Whether to show all layers and findings, and what ran where.
        place: Where the artifact is, if that is known better than by its name.
    """
    return Group(*_parts(report, verbose=verbose, place=place))


def _parts(report: ReportData, *, verbose: bool, place: str | None) -> Iterator[RenderableType]:
    yield _verdict(report)
    if report.advice:
        yield from _advice(report.advice)
    if claims.are_made(report):
        yield Text()
        yield from _claims(report)
    if report.files:
        yield from _files(report, verbose=verbose)
    else:
        yield from _layers(report, verbose=verbose)
    findings = report.findings
    if verbose and report.files:
        findings = summary.findings_of_none(report)
    if findings:
        yield Text()
        yield from _findings(findings, verbose=verbose)
    if verbose:
        yield Text()
        yield from _facts(report)
    yield from _artifact(report, place)


def _verdict(report: ReportData) -> RenderableType:
    state = summary.VERDICT_STATES[report.verdict]
    mark = Text(f"{_STATE_MARKS[state]} {summary.VERDICTS[report.verdict]}", _STATE_STYLES[state])
    text = Text.assemble(mark.append(":"), " ", plain(summary.outcome(report)))
    return Paragraph(Text(), text, 0)


def _advice(advice: Advice) -> Iterator[RenderableType]:
    yield below(Text(summary.DECISIONS[advice.decision], "bold"))
    for reason in advice.reasons:
        if reason != summary.DECISIONS[advice.decision]:
            yield Paragraph(Text("  ·"), plain(reason), 4)


def _claims(report: ReportData) -> Iterator[RenderableType]:
    for claim in claims.of_report(report):
        mark = Text(_STATE_MARKS[claim.state], _STATE_STYLES[claim.state])
        yield Paragraph(Text.assemble(mark, " ", claim.title), plain(claim.text), _CLAIM_WIDTH)


def _layers(report: ReportData, *, verbose: bool) -> Iterator[RenderableType]:
    layers = report.layers
    if not layers:
        return
    was_converted = report.artifact is not None or report.proof is not None
    yield Text()
    if verbose:
        yield from layer_lines.in_full(layers, report.smoke)
    elif len(layers) <= layer_lines.MAX_SHORT or not was_converted:
        yield from layer_lines.in_short(layers)
    elif troubled := [layer for layer in layers if summary.is_troubled(layer)]:
        yield from layer_lines.in_short(troubled)
        yield plain("-v shows the other layers.", "dim")
    else:
        yield plain(f"-v shows the {notation.count(len(layers), 'layer')}.", "dim")


def _files(report: ReportData, *, verbose: bool) -> Iterator[RenderableType]:
    """Render each file of a model folder that has layers or findings."""
    sections = summary.told_sections(report)
    yield Text()
    for section in sections[: None if verbose else MAX_FILES]:
        yield _file(report, section)
        if verbose:
            yield from _details(report, section)
    if left_out := 0 if verbose else max(len(sections) - MAX_FILES, 0):
        yield plain(f"… and {notation.count(left_out, 'more file')}; -v shows all.", "dim")
    if others := len(report.files) - len(sections):
        yield plain(f"{notation.count(others, 'other file')}, byte for byte.", "dim")


def _file(report: ReportData, section: FileSection) -> RenderableType:
    state = summary.VERDICT_STATES[section.verdict]
    mark = Text(_STATE_MARKS[state], _STATE_STYLES[state])
    counts = summary.said_of_layers(report.of_file(section).layers)
    text = Text.assemble(
        plain(section.path, "bold"), plain(f"  {counts or section.input.container}")
    )
    return Paragraph(mark, text, 2)


def _details(report: ReportData, section: FileSection) -> Iterator[RenderableType]:
    alone = report.of_file(section)
    if alone.layers:
        yield from _claims(alone)
        yield from layer_lines.in_full(alone.layers, alone.smoke)
    yield from _findings(alone.findings, verbose=True)
    yield Text()


def _findings(findings: Iterable[Finding], *, verbose: bool) -> Iterator[RenderableType]:
    for group in summary.group_findings(findings):
        label = Text(group.severity, _SEVERITY_STYLES[group.severity])
        style = "dim" if group.severity == "info" else ""
        every = map(summary.told, group.findings) if verbose else [summary.in_words(group)]
        for text in every:
            yield Paragraph(label, plain(text, style), _SEVERITY_WIDTH)


def _facts(report: ReportData) -> Iterator[RenderableType]:
    seconds = [f"{stage} {notation.duration(spent)}" for stage, spent in report.seconds.items()]
    facts = {
        "input": _facts_of(report.input),
        "artifact": _facts_of(report.artifact) if report.artifact else "none written",
        "ran on": _environment(report.environment),
        "took": ", ".join(seconds),
        "made at": summary.origin(report),
    }
    for name, fact in facts.items():
        if fact:
            yield Paragraph(Text(name, "dim"), plain(fact), _FACT_WIDTH)


def _facts_of(file: InputFile | Artifact) -> str:
    facts = [file.filename, notation.size(file.bytes), file.container]
    if isinstance(file, InputFile) and file.wrapper:
        facts.append(f"in {file.wrapper}")
    if isinstance(file, Artifact) and file.unchanged:
        facts.append("the input, byte for byte")
    facts.append(f"sha256 {file.sha256}")
    if file.tensors_sha256:
        facts.append(f"tensors {file.tensors_sha256}")
    return " · ".join(facts)


def _environment(environment: Environment) -> str:
    facts = {
        "": environment.device,
        "GPU ": environment.gpu,
        "torch ": environment.torch,
        "CUDA ": environment.cuda,
        "cuDNN ": environment.cudnn,
        "Python ": environment.python,
        "convlast ": environment.convlast,
    }
    return " · ".join(f"{name}{value}" for name, value in facts.items() if value)


def _artifact(report: ReportData, place: str | None) -> Iterator[RenderableType]:
    """Say where the artifact is, and how it is loaded."""
    if report.artifact is None:
        return
    text = plain(f"{place or report.artifact.filename}, {notation.size(report.artifact.bytes)}")
    yield Text()
    yield Paragraph(Text("Artifact", "bold"), text, _FACT_WIDTH)
    if report.advice and report.advice.load:
        yield Text("Load it with its layout:" if _has_layout(report) else "Load it:", "bold")
        yield from map(code, report.advice.load.splitlines())


def _has_layout(report: ReportData) -> bool:
    return report.options.memory_format == "channels_last_3d"
