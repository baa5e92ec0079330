"""The report in a terminal of at least 80 columns.

All text from the file (names of files and tensors) becomes `Text`, never markup, and passes
`printable` first: a tensor's key must not move the cursor.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from convlast.rendering import chain, notation, summary
from convlast.rendering.notation import printable
from convlast.report import (
    Advice,
    Artifact,
    Environment,
    Finding,
    InputFile,
    Layer,
    LayerSmoke,
    Report,
    Severity,
    Smoke,
)

if TYPE_CHECKING:
    from convlast.checkpoints.manifest import Manifest

MAX_LAYERS = 40
"""The most rows of a table; people read no more, and `--json` has all."""

MAX_FILES = 20
"""The most files of a model folder that are shown."""

MAX_FINDINGS = 5
"""The most findings of one code that are shown."""

MAX_LINKS = 16
"""The most links of the chain that are shown."""

_LEGEND = "Relative errors: dtype is fp16 against fp32, layout is both layouts in fp16."
_STATE_STYLES: dict[summary.State, str] = {
    "good": "green",
    "caution": "yellow",
    "bad": "bold red",
    "unknown": "dim",
}
_STATE_MARKS: dict[summary.State, str] = {"good": "✓", "caution": "!", "bad": "✗", "unknown": "–"}
_SEVERITY_STYLES: dict[Severity, str] = {"error": "bold red", "warning": "yellow", "info": "cyan"}
_STATUS_STYLES = {"converted": "green", "convertible": "green", "skipped": "yellow"}
_SMOKE_STYLES = {"passed": "green", "inaccurate": "yellow", "failed": "bold red"}


def render(report: Report, *, max_layers: int = MAX_LAYERS) -> RenderableType:
    """Render a report for a terminal.

    Args:
        report: The report to show.
        max_layers: The most rows of the layer table; if there are more layers, those with problems
            come first, and a line says how many are left out.
    """
    return Group(*_parts(report, max_layers))


def render_manifest(manifest: Manifest, *, max_layers: int = MAX_LAYERS) -> RenderableType:
    """Render the manifest that a converted artifact carries."""
    table = _table("Layer", "Shape", "Strides before", "Strides after")
    for layer in manifest.layers[:max_layers]:
        table.add_row(
            _text(layer.name),
            notation.shape(layer.shape),
            notation.strides(layer.stride_before),
            notation.strides(layer.stride_after),
        )
    title = Text.assemble(
        (printable(manifest.memory_format), "bold green"),
        "" if manifest.dtype == "keep" else f", cast to {manifest.dtype}",
        f"  {notation.count(len(manifest.layers), 'layer')}, written by convlast ",
        printable(manifest.convlast),
    )
    return Group(title, table, *_left_out(len(manifest.layers) - max_layers, "layer"))


def render_manifests(manifests: Mapping[str, Manifest]) -> RenderableType:
    """Render the manifests of the files of a model folder, each under its path."""
    shown = list(manifests.items())[:MAX_FILES]
    parts: list[RenderableType] = []
    for path, manifest in shown:
        parts += [_title(path), render_manifest(manifest)]
    return Group(*parts, *_left_out(len(manifests) - len(shown), "file"))


def _parts(report: Report, max_layers: int) -> Iterator[RenderableType]:
    style = _STATE_STYLES[summary.VERDICT_STATES[report.verdict]]
    yield Text(summary.VERDICTS[report.verdict], f"bold {style}")
    yield _header(report)
    yield _claims(report)
    if report.files:
        yield from _files(report, max_layers)
    else:
        yield from _layers_of(report, max_layers)
    if findings := summary.findings_of_none(report) if report.files else report.findings:
        yield _title("Findings")
        yield from _findings(findings)
    if report.advice:
        yield _title("What to do")
        yield from _advice(report.advice)


def _files(report: Report, max_layers: int) -> Iterator[RenderableType]:
    """Render each file of a model folder that has layers or findings."""
    sections = summary.told_sections(report)
    for section in sections[:MAX_FILES]:
        alone = report.of_file(section)
        state = _STATE_STYLES[summary.VERDICT_STATES[section.verdict]]
        verdict = summary.VERDICTS[section.verdict]
        yield Text.assemble("\n", _text(section.path, "bold reverse"))
        yield Text.assemble((verdict, state), "  ", _file(section.input))
        if alone.layers:
            yield _claims(alone)
            yield from _layers_of(alone, max_layers)
        yield from _findings(alone.findings)
    yield from _left_out(len(sections) - MAX_FILES, "file")
    if number := len(report.files) - len(sections):
        yield Text(f"\n{notation.count(number, 'other file')}, byte for byte.", "dim")


def _layers_of(report: Report, max_layers: int) -> Iterator[RenderableType]:
    if not report.layers:
        return
    yield _title(f"Layers ({_status_counts(report.layers)})")
    yield _layers(report.layers, max_layers)
    if any(layer.smoke for layer in report.layers):
        yield Text(_LEGEND, "dim")
    yield from _left_out(len(report.layers) - max_layers, "layer")
    yield from _assumptions(report.layers)
    if report.smoke and report.smoke.trace:
        yield _title("The layout through the model")
        yield from _chain(report.smoke)


def _chain(smoke: Smoke) -> Iterator[Text]:
    if smoke.permutations:
        yield _text(chain.words_on(smoke.permutations))
    links = chain.links_of(smoke.trace)
    for link in links[:MAX_LINKS]:
        mark = "⇄" if link.permutes else " "
        layout = chain.LAYOUTS.get(link.layout, link.layout)
        style = "yellow" if link.permutes else "green"
        yield Text.assemble(
            (f"  {mark} {layout:14}", style),
            printable(link.title),
            (f" {printable(link.rest)}", "dim"),
        )
    yield from _left_out(len(links) - MAX_LINKS, "link")


def _header(report: Report) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row("input", _file(report.input))
    grid.add_row("artifact", _file(report.artifact) if report.artifact else "none written")
    grid.add_row("ran on", _environment(report.environment))
    return Padding(grid, (0, 0, 1, 0))


def _file(file: InputFile | Artifact) -> Text:
    facts = [notation.size(file.bytes), file.container]
    if isinstance(file, InputFile) and file.wrapper:
        facts.append(f"in {file.wrapper}")
    if isinstance(file, Artifact) and file.unchanged:
        facts.append("the input, byte for byte")
    facts.append(f"sha256 {file.sha256[:12]}")
    return Text.assemble((printable(file.filename), "bold"), "  ", printable(" · ".join(facts)))


def _environment(environment: Environment) -> Text:
    facts = {
        "": environment.device,
        "GPU ": environment.gpu,
        "torch ": environment.torch,
        "CUDA ": environment.cuda,
        "cuDNN ": environment.cudnn,
        "Python ": environment.python,
        "convlast ": environment.convlast,
    }
    return _text(" · ".join(f"{name}{value}" for name, value in facts.items() if value))


def _claims(report: Report) -> RenderableType:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True, style="bold")
    grid.add_column(overflow="fold")
    for claim in summary.claims(report):
        mark = Text(_STATE_MARKS[claim.state], _STATE_STYLES[claim.state])
        grid.add_row(mark, claim.title, _text(claim.text))
    return grid


def _layers(layers: Sequence[Layer], max_layers: int) -> Table:
    if len(layers) > max_layers:
        layers = sorted(layers, key=summary.is_troubled, reverse=True)[:max_layers]
    table = _table("Status", "Layer: weight, strides, and the convolution in fp16")
    for layer in layers:
        status = Text(layer.status, _STATUS_STYLES.get(layer.status, ""))
        table.add_row(status, Text("\n").join(_lines(layer)))
    return table


def _lines(layer: Layer) -> Iterator[Text]:
    yield _text(layer.name, "bold")
    strides = map(notation.strides, (layer.stride_before, layer.stride_after))
    weight = f"{layer.kind} {notation.shape(layer.shape)} {layer.dtype}"
    yield _text(f"{weight}, {' → '.join(dict.fromkeys(strides))}", "dim")
    if layer.reason:
        yield _text(layer.reason, "yellow")
    if layer.alias_of:
        yield _text(f"same storage as {layer.alias_of}", "dim")
    if layer.smoke:
        yield _smoke(layer.smoke)


def _smoke(smoke: LayerSmoke) -> Text:
    facts = [] if smoke.finite is None else ["finite" if smoke.finite else "not finite"]
    facts.extend(
        f"{pair} {notation.magnitude(parity.relative)}"
        for pair in ("dtype", "layout")
        if (parity := summary.find_parity(smoke, pair))
    )
    facts.extend(note for note in (smoke.output_memory_format, smoke.reason) if note)
    text = Text(f"fp16 {smoke.status}", _SMOKE_STYLES.get(smoke.status, "dim"))
    return Text.assemble(text, (printable("".join(f", {fact}" for fact in facts)), "dim"))


def _status_counts(layers: Iterable[Layer]) -> str:
    counts = summary.count_statuses(layers)
    return ", ".join(f"{number:,} {summary.STATUSES[status]}" for status, number in counts.items())


def _assumptions(layers: Iterable[Layer]) -> Iterator[Text]:
    assumed = summary.count_assumptions(layers)
    if not assumed:
        return
    shown = list(assumed.items())[:MAX_FINDINGS]
    listed = ", ".join(f"{text} ({notation.count(number, 'layer')})" for text, number in shown)
    yield _text(f"Assumed, since the file does not say: {listed}", "dim")
    yield from _left_out(len(assumed) - len(shown), "assumption")


def _findings(findings: Iterable[Finding]) -> Iterator[RenderableType]:
    for group in summary.group_findings(findings):
        title = Text.assemble(
            (group.severity, _SEVERITY_STYLES[group.severity]), f" {printable(group.code)}"
        )
        if len(group.findings) > 1:
            title.append(f" ×{len(group.findings):,}", "dim")
        yield title
        for finding in group.findings[:MAX_FINDINGS]:
            subject = summary.subject_of(finding)
            named = f"{printable(subject)}: " if subject else ""
            yield Padding(Text.assemble((named, "bold"), printable(finding.message)), (0, 0, 0, 2))
        for line in _left_out(len(group.findings) - MAX_FINDINGS, "finding"):
            yield Padding(line, (0, 0, 0, 2))


def _advice(advice: Advice) -> Iterator[RenderableType]:
    yield Text(summary.DECISIONS[advice.decision], "bold")
    for reason in advice.reasons:
        yield Padding(_text(reason), (0, 0, 0, 2))
    if advice.load:
        yield Text("Load it with its layout:", "dim")
        for line in advice.load.splitlines():
            # Not wrapped, so that the code can be copied.
            yield Text(f"  {printable(line)}", "cyan", no_wrap=True, overflow="ignore")


def _left_out(number: int, noun: str) -> Iterator[Text]:
    if number > 0:
        yield Text(f"… and {notation.count(number, f'more {noun}')}; --json has all.", "dim")


def _title(title: str) -> Text:
    return Text(f"\n{title}", "bold")


def _text(text: str, style: str = "") -> Text:
    return Text(printable(text), style)


def _table(*headers: str) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        header_style="dim",
    )
    for header in headers:
        table.add_column(header, overflow="fold")
    return table
