"""The top of the page: the verdict, three answers, what to do, and where it was made."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from convlast.report.rendering import answers, summary
from convlast.report.rendering.markup import Markup, element
from convlast.report.sections import Advice, ReportData


def draw(report: ReportData) -> Markup:
    """Write the top of the page."""
    return element(
        "header",
        element("p", "convlast report", class_="eyebrow"),
        element("h1", summary.VERDICTS[report.verdict]),
        _files(report),
        element("dl", *map(_answer, answers.of_report(report)), class_="answers"),
        *_advice(report),
        element("p", *_origin(report), class_="origin"),
        class_=f"verdict {summary.VERDICT_STATES[report.verdict]}",
    )


def _files(report: ReportData) -> Markup:
    target = element("span", "nothing written", class_="quiet")
    if report.artifact:
        target = element("code", report.artifact.filename)
    arrow = element("span", " → ", class_="quiet")
    return element("p", element("code", report.input.filename), arrow, target, class_="files")


def _answer(answer: answers.Answer) -> Markup:
    question, text = element("dt", answer.question), element("dd", answer.text)
    return element("div", question, text, class_=answer.state)


def _advice(report: ReportData) -> Iterator[Markup]:
    """Write why, and how the artifact is loaded; the findings say why a file was rejected."""
    advice = report.advice
    if advice is None:
        return
    if report.verdict != "failed":
        yield from reasons(advice)
    if report.artifact:
        yield from load(advice)


def reasons(advice: Advice) -> Iterator[Markup]:
    """Write the reasons of an advice."""
    if advice.reasons:
        yield element("ul", *(element("li", reason) for reason in advice.reasons))


def load(advice: Advice) -> Iterator[Markup]:
    """Write the lines that load an artifact; the script of the page adds a button that copies."""
    if advice.load:
        # Line by line, because a newline inside a text is shown as its escape.
        lines = "\n".join(element("code", line) for line in advice.load.splitlines())
        yield element("pre", Markup(lines), class_="load")


def _origin(report: ReportData) -> Iterator[str]:
    made = report.environment
    if report.made_at:
        yield element("time", _in_words(report.made_at), datetime=report.made_at)
        yield " · "
    device = made.gpu or made.cpu
    on = f"{made.device} ({device})" if device else made.device
    yield f"convlast {made.convlast} · PyTorch {made.torch} · {on}"


def _in_words(moment: str) -> str:
    """Write a moment as people write it.

    >>> _in_words("2026-01-31T23:59:59Z")
    '31 January 2026, 23:59 UTC'
    """
    try:
        return f"{datetime.fromisoformat(moment):%-d %B %Y, %H:%M} UTC"
    except ValueError:  # of another version
        return moment
