"""The report as one self-contained HTML page: no network, no font, and only our own script.

All text from the file passes `markup.escape`; in case that ever fails, the page's own content
policy forbids other scripts, other styles and resources. Without its script the page shows
everything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from convlast.report.rendering import assets, claims, notation, smoke_page, summary, tables
from convlast.report.rendering.markup import Markup, element
from convlast.report.sections import (
    Advice,
    Artifact,
    Environment,
    InputFile,
    Layer,
    ReportData,
    Severity,
    Smoke,
)

MAX_FILES = 100
"""The most files of a model folder that have a section on the page."""

_SEVERITY_STATES: dict[Severity, summary.State] = {
    "error": "bad",
    "warning": "caution",
    "info": "unknown",
}


def render(report: ReportData) -> str:
    """Render a report as an HTML page; the same report gives the same page."""
    title = f"{report.input.filename}: {summary.VERDICTS[report.verdict]}"
    return assets.page(title, element("main", *_sections(report)))


def _sections(report: ReportData) -> Iterator[Markup]:
    yield _verdict(report)
    yield element("div", *map(_claim, claims.of_report(report)), class_="cards")
    if report.advice:
        yield from _section("What to do", _advice(report.advice))
    if report.files:
        groups = summary.group_findings(summary.findings_of_none(report))
        if groups:
            yield from _section("Findings", *map(_finding_group, groups))
        yield from _files(report)
    else:
        yield from _details(report)
    yield from _section("Files and environment", _facts(report))
    made_by = f"convlast {report.environment.convlast}, report schema {report.schema_version}"
    yield element("footer", " · ".join(filter(None, [made_by, summary.origin(report)])))


def _details(report: ReportData) -> Iterator[Markup]:
    """Write the findings, layers and smoke of one file."""
    if report.findings:
        groups = summary.group_findings(report.findings)
        yield from _section("Findings", *map(_finding_group, groups))
    if report.layers:
        yield from _section("Layers", *_layers(report.layers))
    if report.survival:
        yield from _section("Ways of loading", tables.survival(report.survival))
    if report.smoke:
        yield from _smoke(report.smoke)


def _files(report: ReportData) -> Iterator[Markup]:
    """Write a section for each file of a model folder that has layers or findings."""
    yield from _section("Files", tables.files(report.files))
    sections = summary.told_sections(report)
    for section in sections[:MAX_FILES]:
        alone = report.of_file(section)
        state = summary.VERDICT_STATES[section.verdict]
        title = element("h2", element("code", section.path))
        verdict = element("p", tables.tag(summary.VERDICTS[section.verdict], state))
        cards = element("div", *map(_claim, claims.of_report(alone)), class_="cards")
        advice = _section("What to do", _advice(section.advice)) if section.advice else ()
        content = (cards, *advice) if alone.layers else ()
        yield element("section", title, verdict, *content, *_details(alone), class_="file")
    if len(sections) > MAX_FILES:
        left_out = f"{notation.count(len(sections) - MAX_FILES, 'more file')}; the JSON has all."
        yield element("p", left_out, class_="note")


def _section(title: str, *content: Markup) -> Iterator[Markup]:
    yield element("section", element("h2", title), *content)


def _verdict(report: ReportData) -> Markup:
    if report.artifact:
        target = element("code", report.artifact.filename)
    else:
        target = element("span", "nothing written", class_="quiet")
    arrow = element("span", "→", class_="arrow")
    return element(
        "header",
        element("p", "convlast layer report", class_="eyebrow"),
        element("h1", summary.VERDICTS[report.verdict]),
        element("p", element("code", report.input.filename), arrow, target, class_="files"),
        class_=f"verdict {summary.VERDICT_STATES[report.verdict]}",
    )


def _claim(claim: claims.Claim) -> Markup:
    content = element("h3", claim.title), element("p", claim.text)
    return element("section", *content, class_=f"card claim {claim.state}")


def _advice(advice: Advice) -> Markup:
    content = [element("h3", summary.DECISIONS[advice.decision])]
    if advice.reasons:
        content.append(element("ul", *(element("li", reason) for reason in advice.reasons)))
    if advice.load:
        # Line by line, because a newline inside a text is shown as its escape.
        lines = "\n".join(element("code", line) for line in advice.load.splitlines())
        content.append(element("pre", Markup(lines)))
    return element("div", *content, class_="card advice")


def _finding_group(group: summary.FindingGroup) -> Markup:
    state = _SEVERITY_STATES[group.severity]
    number = f" ×{len(group.findings):,}" if len(group.findings) > 1 else ""
    title = tables.tag(group.severity, state), " ", element("code", group.code), number
    items = []
    for finding in group.findings:
        subject = summary.subject_of(finding)
        named = (element("code", subject), ": ") if subject else ()
        items.append(element("li", *named, finding.message))
    listed = element("ul", *items, class_="single" if len(items) == 1 else "several")
    return element("div", element("h3", *title), listed, class_=f"card finding {state}")


def _layers(layers: Sequence[Layer]) -> Iterator[Markup]:
    tags = []
    for status, number in summary.count_statuses(layers).items():
        state = tables.STATUS_STATES.get(status, "unknown")
        tags.append(tables.tag(f"{number:,} {summary.STATUSES[status]}", state))
    yield element("p", *tags, class_="counts")
    yield tables.layers(layers)
    if assumed := summary.count_assumptions(layers):
        items = (f"{text} ({notation.count(n, 'layer')})" for text, n in assumed.items())
        listed = f"Assumed, since the file does not say: {'; '.join(items)}."
        yield element("p", listed, class_="note")


def _smoke(smoke: Smoke) -> Iterator[Markup]:
    for title, content in smoke_page.sections(smoke):
        yield from _section(title, content)


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
    return element("section", element("h3", title), element("dl", *terms), class_="card")


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
    return facts | {"SHA-256": file.sha256}


def _environment_facts(environment: Environment) -> dict[str, str]:
    names = {"cuda": "CUDA", "cudnn": "cuDNN", "gpu": "GPU", "cpu": "CPU"}
    names |= {"convlast": "convlast", "torch": "torch"}
    return {
        names.get(field, field.replace("_", " ").capitalize()): value
        for field, value in environment.model_dump().items()
        if value is not None
    }
