"""The report as Markdown, for a merge request or the page of a job, where it must be short.

It has at most `MOST_BYTES`, whatever the model. All text from the file passes `prose.code` or
`prose.words`: it never becomes markup, a link or a mention.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from convlast.report.rendering import answers, claims, notation, summary
from convlast.report.rendering.pipelines.prose import code, words
from convlast.report.sections import FileSection, Layer, ReportData

MOST_BYTES = 60_000
"""GitHub takes 65,536 characters in a comment, and others add their own to it."""

_MOST_ROWS, _MOST_FINDINGS, _MOST_REASONS, _MOST_LINES = 20, 25, 8, 20

_MARKS: dict[summary.State, str] = {"good": "✅", "caution": "⚠️", "bad": "❌", "unknown": "➖"}
_GRAVITY = {"failed": 3, "inaccurate": 2}
_LEFT_OUT = "_Some parts did not fit here; the JSON report has all._"

Block = list[str]
"""Lines that belong together; an empty line is between two blocks."""


def render(report: ReportData) -> str:
    """Render a report as Markdown; the same report gives the same text."""
    blocks, room_bytes = [], MOST_BYTES - len(_LEFT_OUT) - 2
    for block in _blocks(report):
        text = "\n".join(block) + "\n"
        size_bytes = len(text.encode()) + 1
        if size_bytes > room_bytes:
            blocks.append(f"{_LEFT_OUT}\n")
            break
        blocks.append(text)
        room_bytes -= size_bytes
    return "\n".join(blocks)


def _blocks(report: ReportData) -> Iterator[Block]:
    yield [_headline(report)]
    yield [*_answers(report)]
    yield from _findings(report)
    if claims.are_made(report):
        yield from _folded("What was proved", [list(_claims(report))])
    if report.files:
        yield from _files(report)
    if report.layers:
        yield from _layers(report)
    if report.artifact and report.advice and report.advice.load:
        yield from _folded("How the artifact is loaded", [_fenced(report.advice.load)])
    yield [" · ".join(_origin(report))]


def _headline(report: ReportData) -> str:
    mark = _MARKS[summary.VERDICT_STATES[report.verdict]]
    made = f" → {code(report.artifact.filename)}" if report.artifact else ""
    return f"### {mark} {summary.VERDICTS[report.verdict]}: {code(report.input.filename)}{made}"


def _answers(report: ReportData) -> Iterator[str]:
    """Answer three questions; the last answer is followed by its reasons."""
    for answer in answers.of_report(report):
        yield f"- {_MARKS[answer.state]} **{answer.question}** {words(answer.text)}"
    if report.verdict != "failed" and report.advice:
        for reason in report.advice.reasons[:_MOST_REASONS]:
            if reason != summary.DECISIONS[report.advice.decision]:
                yield f"  - {words(reason)}"


def _findings(report: ReportData) -> Iterator[Block]:
    """Write a line for each code, the most severe first."""
    groups = summary.group_findings(report.findings)
    if not groups:
        return
    yield ["#### Findings"]
    yield [_finding(group) for group in groups[:_MOST_FINDINGS]]
    yield from _more(len(groups) - _MOST_FINDINGS, "code")


def _finding(group: summary.FindingGroup) -> str:
    said = summary.in_words(group).removeprefix(f"{group.code}: ")
    return f"- **{group.severity}** {code(group.code)}: {words(said)}"


def _claims(report: ReportData) -> Iterator[str]:
    for claim in claims.of_report(report):
        yield f"- {_MARKS[claim.state]} **{claim.title}**: {words(claim.text)}"


def _files(report: ReportData) -> Iterator[Block]:
    """Write a row for each file with layers or findings, those with the worst verdict first."""
    told = sorted(summary.told_sections(report), key=_is_passed)
    layers: dict[str | None, list[Layer]] = {}
    for layer in report.layers:
        layers.setdefault(layer.file, []).append(layer)
    rows = [
        [_MARKS[summary.VERDICT_STATES[section.verdict]], code(section.path), said]
        for section in told[:_MOST_ROWS]
        for said in [summary.said_of_layers(layers.get(section.path, ())) or "–"]
    ]
    yield [f"#### {notation.count(len(report.files), 'file')}"]
    if rows:
        yield _table(["", "file", "layers"], rows)
    yield from _more(len(told) - _MOST_ROWS, "file")
    if others := len(report.files) - len(told):
        yield [f"{notation.count(others, 'other file')}, byte for byte."]


def _is_passed(section: FileSection) -> int:
    return ("failed", "passed_with_findings", "passed").index(section.verdict)


def _layers(report: ReportData) -> Iterator[Block]:
    """Write the worst layers, which are all if there are few."""
    layers = sorted(report.layers, key=_badness, reverse=True)
    title = summary.said_of_layers(layers)
    headers = ["layer", "shape", "status", "in fp16", "error of fp16", "error of the layout"]
    shown = len(headers) if any(layer.smoke for layer in layers) else headers.index("in fp16")
    table = _table(headers[:shown], [_row(layer)[:shown] for layer in layers[:_MOST_ROWS]])
    more = _more(len(layers) - _MOST_ROWS, "layer")
    yield from _folded(title, [table, *more], is_open=report.verdict == "failed")


def _badness(layer: Layer) -> tuple[int, bool, float]:
    """Order layers by how much they deserve a look."""
    smoke = layer.smoke
    parity = smoke.parity if smoke else ()
    errors = [math.inf if each.relative is None else each.relative for each in parity]
    return (
        _GRAVITY.get(smoke.status, 0) if smoke else 0,
        layer.status == "skipped",
        max(errors, default=0.0),
    )


def _row(layer: Layer) -> list[str]:
    errors = [summary.find_parity(layer.smoke, pair) for pair in ("dtype", "layout")]
    name = layer.name if layer.file is None else f"{layer.file}: {layer.name}"
    status = summary.STATUSES[layer.status]
    return [
        code(name),
        notation.shape(layer.shape[:5]),
        f"{status}: {code(layer.reason)}" if layer.reason else status,
        layer.smoke.status if layer.smoke else "–",
        *(notation.magnitude(each.relative) if each else "–" for each in errors),
    ]


def _table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> Block:
    lines = [headers, ["---"] * len(headers), *rows]
    return [f"| {' | '.join(cells)} |" for cells in lines]


def _folded(title: str, blocks: Sequence[Block], *, is_open: bool = False) -> Iterator[Block]:
    """Write what is shown when its title is clicked; Markdown begins after an empty line."""
    lines = [line for block in blocks for line in [*block, ""]]
    begin = "<details open>" if is_open else "<details>"
    yield [f"{begin}<summary>{title}</summary>", "", *lines, "</details>"]


def _fenced(text: str) -> Block:
    """Write code; a line of it cannot end the fence, since it has no backticks."""
    lines = [notation.printable(line).replace("`", "\\x60") for line in text.splitlines()]
    return ["```python", *islice((line[:500] for line in lines), _MOST_LINES), "```"]


def _more(number: int, noun: str) -> Iterator[Block]:
    if number > 0:
        yield [f"… and {notation.count(number, f'more {noun}')}, in the JSON report."]


def _origin(report: ReportData) -> Iterator[str]:
    """Say what ran where, and which bytes it was about."""
    made = report.environment
    device = made.gpu or made.cpu
    yield f"convlast {code(made.convlast)}"
    yield f"PyTorch {code(made.torch)}"
    yield f"{code(made.device)} ({words(device, 100)})" if device else code(made.device)
    for name, file in (("input", report.input), ("artifact", report.artifact)):
        if file is not None:
            yield f"{name} {notation.size(file.bytes)}, SHA-256 {code(file.sha256)}"
    if said := summary.origin(report):
        yield words(said, 300)
