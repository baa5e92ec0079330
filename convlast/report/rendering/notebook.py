"""The report in a notebook: what matters of it, in a cell among others."""

from __future__ import annotations

from convlast.report.rendering import claims, summary
from convlast.report.rendering.markup import Markup, element
from convlast.report.sections import ReportData

_MARKS: dict[summary.State, str] = {"good": "✓", "caution": "!", "bad": "✗", "unknown": "–"}


def render(report: ReportData) -> str:
    """Write the verdict, the four claims, warnings and errors, and how the artifact is loaded."""
    state = summary.VERDICT_STATES[report.verdict]
    title = f"{_MARKS[state]} {summary.VERDICTS[report.verdict]}: "
    parts = [element("p", element("b", title), summary.outcome(report))]
    if claims.are_made(report):
        parts.append(element("table", *map(_claim, claims.of_report(report))))
    grave = [found for found in report.findings if found.severity != "info"]
    told = [summary.in_words(group) for group in summary.group_findings(grave)]
    if told:
        parts.append(element("ul", *(element("li", text) for text in told)))
    if report.advice:
        parts.append(element("p", element("b", summary.DECISIONS[report.advice.decision])))
        if report.artifact and report.advice.load:
            # Line by line, because a newline inside a text is shown as its escape.
            lines = "\n".join(element("code", line) for line in report.advice.load.splitlines())
            parts.append(element("pre", Markup(lines)))
    return element("div", *parts)


def _claim(claim: claims.Claim) -> Markup:
    title = element("th", f"{_MARKS[claim.state]} {claim.title}", style="text-align: left")
    return element("tr", title, element("td", claim.text, style="text-align: left"))
