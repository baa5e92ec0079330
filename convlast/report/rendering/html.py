"""The report as one self-contained HTML page: no network, no font, and only our own script.

All text from the file passes `markup.escape`; in case that ever fails, the page's own content
policy forbids other scripts, other styles and resources. Without its script the page shows
everything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from convlast.report.rendering import (
    assets,
    claims,
    drawings,
    findings_page,
    folder_page,
    headline,
    layer_table,
    notation,
    smoke_page,
    summary,
    tables,
)
from convlast.report.rendering.markup import Markup, element
from convlast.report.sections import Artifact, Environment, InputFile, Layer, ReportData, Smoke

_FILTER = element(
    "div",
    element("label", "Filter the tables", for_="filter"),
    Markup('<input id="filter" type="search" autocomplete="off" spellcheck="false">'),
    element("output", for_="filter"),
    class_="filter",
    role="search",
    hidden="",
)
"""The box that filters all rows; the script of the page shows it."""


def render(report: ReportData) -> str:
    """Render a report as an HTML page; the same report gives the same page."""
    title = f"{report.input.filename}: {summary.VERDICTS[report.verdict]}"
    return assets.page(title, element("main", *_sections(report)))


def _sections(report: ReportData) -> Iterator[Markup]:
    yield headline.draw(report)
    if claims.are_made(report):
        cards = element("div", *map(_claim, claims.of_report(report)), class_="cards")
        yield _section("What was proved", cards)
    yield _FILTER
    if report.files:
        yield _section("Files", folder_page.overview(report))
    if report.findings:
        groups = summary.group_findings(report.findings)
        yield _section("Findings", *map(findings_page.card, groups))
    yield from _files(report) if report.files else _details(report)
    yield _section("Files and environment", _facts(report))
    made_by = f"convlast {report.environment.convlast}, report schema {report.schema_version}"
    yield element("footer", " · ".join(filter(None, [made_by, summary.origin(report)])))


def _details(report: ReportData) -> Iterator[Markup]:
    """Write the layers and the smoke of one file."""
    if report.layers:
        yield _section("Layers", *_layers(report.layers))
    if report.survival:
        yield _section("Ways of loading", drawings.survival(report.survival))
    if report.smoke:
        yield from _smoke(report.smoke)


def _files(report: ReportData) -> Iterator[Markup]:
    """Write the ways of loading the files of a model folder, and the layers and smoke of each."""
    ways = [
        part
        for files, rows in folder_page.ways_of_loading(report)
        for part in (_named(files), drawings.survival(rows))
    ]
    if ways:
        yield _section("Ways of loading", *ways)
    layers, known = folder_page.by_file(report.layers), set[str]()
    known.update(report.advice.reasons if report.advice else ())
    for index, section in enumerate(folder_page.told(report)):
        parts = [*folder_page.advice_of(section, known), *_layers(layers[section.path])]
        if section.smoke:
            parts += _smoke(section.smoke, "h3")
        title = element("h2", element("code", section.path))
        place = folder_page.anchor(index)
        yield element("section", title, *parts, class_="file", id=place, tabindex="-1")
    if more := folder_page.left_out(report):
        text = f"{notation.count(more, 'more file')} with layers; the JSON report has all."
        yield element("p", text, class_="note")


def _named(files: Sequence[str]) -> Markup:
    """Name the files that a table is about."""
    return element("p", Markup(", ".join(element("code", path) for path in files)), class_="note")


def _section(title: str, *content: Markup, heading: str = "h2") -> Markup:
    return element("section", element(heading, title), *content)


def _claim(claim: claims.Claim) -> Markup:
    content = element("h3", claim.title), element("p", claim.text)
    return element("div", *content, class_=f"card claim {claim.state}")


def _layers(layers: Sequence[Layer]) -> Iterator[Markup]:
    tags = []
    for status, number in summary.count_statuses(layers).items():
        state = layer_table.STATUS_STATES.get(status, "unknown")
        tags.append(tables.tag(f"{number:,} {summary.STATUSES[status]}", state))
    yield element("p", *tags, class_="counts")
    yield layer_table.draw(layers)
    yield layer_table.legend(layers)
    if assumed := summary.count_assumptions(layers):
        items = (f"{text} ({notation.count(n, 'layer')})" for text, n in assumed.items())
        listed = f"Assumed, since the file does not say: {'; '.join(items)}."
        yield element("p", listed, class_="note")


def _smoke(smoke: Smoke, heading: str = "h2") -> Iterator[Markup]:
    for title, content in smoke_page.sections(smoke):
        yield _section(title, content, heading=heading)


def _facts(report: ReportData) -> Markup:
    options = report.options.model_dump(mode="json", exclude_defaults=True)
    seconds = {stage: notation.duration(spent) for stage, spent in report.seconds.items()}
    cards = {
        "Input": _file_facts(report.input),
        "Artifact": _file_facts(report.artifact) if report.artifact else {},
        "Environment": _environment_facts(report.environment),
        "Options other than the defaults": {name: str(value) for name, value in options.items()},
        "Wall time": seconds,
    }
    return element(
        "div", *(_card(*card) for card in cards.items() if card[1]), class_="cards facts"
    )


def _card(title: str, facts: dict[str, str]) -> Markup:
    terms = [part for k, v in facts.items() for part in (element("dt", k), element("dd", v))]
    return element("div", element("h3", title), element("dl", *terms), class_="card")


def _file_facts(file: InputFile | Artifact) -> dict[str, str]:
    facts = {
        "Name": file.filename,
        "Size": f"{notation.size(file.bytes)} ({file.bytes:,} bytes)",
        "Container": file.container,
    }
    if isinstance(file, InputFile) and file.wrapper:
        facts["Wrapper"] = file.wrapper
    if isinstance(file, Artifact) and file.unchanged:
        facts["Change"] = "none: the input, byte for byte"
    facts["SHA-256"] = file.sha256
    if file.tensors_sha256:
        facts["SHA-256 of the tensors"] = file.tensors_sha256
    return facts


def _environment_facts(environment: Environment) -> dict[str, str]:
    names = {"cuda": "CUDA", "cudnn": "cuDNN", "gpu": "GPU", "cpu": "CPU"}
    names |= {"convlast": "convlast", "torch": "torch"}
    return {
        names.get(field, field.replace("_", " ").capitalize()): value
        for field, value in environment.model_dump().items()
        if value is not None
    }
