"""Two reports side by side, as a page: what changed comes first, and all else is only counted.

The page has the style, the script and the policy of a report. All text passes `markup.escape`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from convlast.report.changes import (
    Comparison,
    FileChange,
    FindingChange,
    Judgement,
    Kept,
    LayerChange,
    LayerName,
    Side,
    SurvivalChange,
)
from convlast.report.listing import listed
from convlast.report.rendering import assets, notation, summary, tables
from convlast.report.rendering.comparison import measurements, outline
from convlast.report.rendering.comparison.values import (
    TREND_STATES,
    lines,
    row,
    shortened,
    subject,
)
from convlast.report.rendering.markup import Markup, element
from convlast.report.sections import Finding, Severity

MAX_ROWS = 200
"""The most rows of a table; the JSON has all."""

_MAX_NAMED = 3
"""The most layers that are named together."""

_SEVERITY_STATES: dict[Severity, summary.State] = {
    "error": "bad",
    "warning": "caution",
    "info": "unknown",
}
_LONE_STATES: dict[str, summary.State] = {"came": "unknown", "went": "caution"}
_LOADING_STATES: dict[str | None, summary.State] = {"kept": "good", "lost": "caution"}

_DIGITS = 16
"""How many digits of a digest are shown."""

Row = Sequence[Markup]
T = TypeVar("T")


def render(comparison: Comparison) -> str:
    """Render a comparison as an HTML page; the same comparison gives the same page."""
    headline, _ = _headline(comparison)
    names = dict.fromkeys([comparison.before.filename, comparison.after.filename])
    title = f"{' and '.join(map(shortened, names))}: {headline}"
    return assets.page(title, element("main", *_content(comparison), class_="comparison"))


def _content(comparison: Comparison) -> Iterator[Markup]:
    yield _header(comparison)
    yield _section("At a glance", element("div", *_cards(comparison), class_="cards"))
    yield _section("The two reports", _sides(comparison))
    yield from _changes(comparison)
    before, after = comparison.before, comparison.after
    made_by = dict.fromkeys([before.schema_version, after.schema_version])
    yield element("footer", f"convlast comparison, report schema {' and '.join(made_by)}")


def _changes(comparison: Comparison) -> Iterator[Markup]:
    """Write a section for each part that changed."""
    judged = ["Part", "What", "Change"]
    yield from _part("What got worse", judged, _judged, comparison.regressions)
    yield from _part("What got better", judged, _judged, comparison.improvements)
    values = ["Before", "After"]
    facts = [each for each in comparison.facts if each.field not in outline.SHOWN]
    yield from _part("The result", ["What", *values], row, facts)
    findings = [("came", each) for each in comparison.findings.came]
    findings += [("went", each) for each in comparison.findings.went]
    yield from _part(
        "Findings that came or went", ["Change", "Finding", "What it says"], _finding, findings
    )
    reworded = comparison.findings.changed
    yield from _part("Findings with another message", ["Finding", *values], _reworded, reworded)
    layers, files = comparison.layers, comparison.files
    yield from _part(
        "Layers that changed", ["Layer", "What changed"], _alike, outline.groups(layers)
    )
    lone = [("went", each) for each in layers.went] + [("came", each) for each in layers.came]
    yield from _part("Layers that came or went", ["Layer", "Change", "Weight"], _lone_layer, lone)
    errors = measurements.ranked(comparison.errors)
    yield from _part("Errors", measurements.ERRORS, measurements.error, errors)
    yield from _part("Times", measurements.TIMES, measurements.time, comparison.times.changed)
    routes = comparison.survival.changed
    yield from _part("Ways of loading", ["Way of loading", *values], _survival, routes)
    yield from _part("Files that changed", ["File", "What changed"], _file, files.changed)
    paths = [("went", each) for each in files.went] + [("came", each) for each in files.came]
    yield from _part("Files that came or went", ["File", "Change"], _lone_file, paths)
    yield from _part("Options", ["Option", *values], row, comparison.options)
    yield from _part("Environment", ["What", *values], row, comparison.environment)


def _headline(comparison: Comparison) -> tuple[str, summary.State]:
    """Say in a few words what became of the report, and how good that is."""
    text = outline.headline(comparison)
    if comparison.regressions:
        return text, "bad" if _state_of_verdict(comparison) == "bad" else "caution"
    is_good = comparison.improvements or not comparison.changed
    return text, "good" if is_good else "unknown"


def _state_of_verdict(comparison: Comparison) -> summary.State:
    if comparison.verdict == "worse" and comparison.after.verdict == "failed":
        return "bad"
    return TREND_STATES[comparison.verdict]


def _header(comparison: Comparison) -> Markup:
    headline, state = _headline(comparison)
    before, after = (
        element("code", shortened(side.filename)) for side in (comparison.before, comparison.after)
    )
    arrow = element("span", " → ", class_="quiet")
    return element(
        "header",
        element("p", "convlast comparison", class_="eyebrow"),
        element("h1", headline),
        element("p", before, arrow, after, class_="files"),
        class_=f"verdict {state}",
    )


def _cards(comparison: Comparison) -> Iterator[Markup]:
    """Say of each part how much of it came, went, changed and stayed."""
    before, after = (
        summary.VERDICTS[side.verdict] for side in (comparison.before, comparison.after)
    )
    yield _card(
        "Verdict",
        _state_of_verdict(comparison),
        f"{before}, as before." if before == after else f"{before}, and now: {after}.",
    )
    yield _card("Input", "unknown", "The same bytes." if comparison.same_input else "Other bytes.")
    for title, part in (
        ("Findings", comparison.findings),
        ("Layers", comparison.layers),
        ("Errors", comparison.errors),
        ("Times", comparison.times),
        ("Ways of loading", comparison.survival),
        ("Files", comparison.files),
    ):
        if text := outline.counted(part):
            yield _card(title, measurements.state_of(part), text)


def _card(title: str, state: summary.State, text: str) -> Markup:
    content = element("h3", title), element("p", text)
    return element("div", *content, class_=f"card claim {state}")


def _sides(comparison: Comparison) -> Markup:
    facts = list(map(_side, (comparison.before, comparison.after)))
    written = [
        [element("th", name, scope="row"), *(tables.cell(side[name]) for side in facts)]
        for name in facts[0]
        if any(side[name] != "–" for side in facts)
    ]
    titles = (element("th", text, scope="col") for text in ("Report", "Before", "After"))
    head, body = element("tr", *titles), (element("tr", *row) for row in written)
    # The script of the page gives no buttons to this table, whose rows are in order as they are.
    return element("table", element("thead", head), element("tbody", *body), class_="sides card")


def _side(side: Side) -> dict[str, Markup | str]:
    versions = shortened(f"convlast {side.convlast}, torch {side.torch}")
    device = f"{side.device}, {side.gpu}" if side.gpu else side.device
    return {
        "File": element("code", shortened(side.filename)),
        "Verdict": tables.tag(summary.VERDICTS[side.verdict], summary.VERDICT_STATES[side.verdict]),
        "Made": side.made_at or "–",
        "Job": side.job_id or "–",
        "Versions": versions,
        "Device": shortened(device),
        "Layers": f"{side.layers:,}",
        "Files": f"{side.files:,}" if side.files else "–",
        "SHA-256 of the input": element("code", f"{side.sha256[:_DIGITS]}…"),
    }


def _section(title: str, *content: Markup) -> Markup:
    return element("section", element("h2", title), *content)


def _part(
    title: str, headers: Sequence[str], write: Callable[[T], Row], found: Sequence[T]
) -> Iterator[Markup]:
    """Write a section with a table of these things, unless there is none."""
    if not found:
        return
    content = [tables.table(headers, map(write, found[:MAX_ROWS]))]
    if len(found) > MAX_ROWS:
        number = notation.count(len(found) - MAX_ROWS, "more row")
        content.append(element("p", f"{number}; the JSON has all.", class_="note"))
    yield _section(title, *content)


def _judged(judgement: Judgement) -> Row:
    state = TREND_STATES[judgement.trend]
    return [
        subject(judgement.part),
        tables.cell(shortened(judgement.about) or "–"),
        tables.cell(tables.tag(judgement.trend, state), element("small", judgement.message)),
    ]


def _finding(item: tuple[str, Finding]) -> Row:
    change, finding = item
    state = _SEVERITY_STATES[finding.severity] if change == "came" else "unknown"
    about = [element("small", shortened(each)) for each in (finding.file, finding.layer) if each]
    return [
        tables.cell(tables.tag(change, state)),
        subject(finding.code, finding.severity),
        tables.cell(shortened(finding.message), *about),
    ]


def _reworded(change: FindingChange) -> Row:
    texts = map(shortened, (change.before, change.after))
    return [subject(change.code, change.file, change.layer), *map(tables.cell, texts)]


def _alike(layers: Sequence[LayerChange]) -> Row:
    name = listed([shortened(each.name) for each in layers], at_most=_MAX_NAMED)
    where = (layers[0].file, layers[0].wrapper) if len(layers) == 1 else ()
    return [subject(name, *where), tables.cell(*lines(layers[0].changes))]


def _lone_layer(item: tuple[str, LayerName]) -> Row:
    change, layer = item
    facts = f"{notation.shape(layer.shape)} {layer.dtype}, {summary.STATUSES[layer.status]}"
    return [
        subject(layer.name, layer.file, layer.wrapper),
        tables.cell(tables.tag(change, _LONE_STATES[change])),
        tables.cell(shortened(facts)),
    ]


def _file(change: FileChange) -> Row:
    return [subject(change.path), tables.cell(*lines(change.changes))]


def _lone_file(item: tuple[str, str]) -> Row:
    change, path = item
    return [subject(path), tables.cell(tables.tag(change, _LONE_STATES[change]))]


def _survival(change: SurvivalChange) -> Row:
    return [subject(change.route, change.file), *map(_kept, (change.before, change.after))]


def _kept(kept: Kept | None) -> Markup:
    state = _LOADING_STATES.get(kept, "unknown")
    return tables.cell(tables.tag(kept or "not in the report", state))
