"""The report as JUnit XML, which a pipeline's view of tests shows.

A suite is a file, and has a case for the verdict, each claim and each layer. Some case fails if
the verdict is `failed`; findings that are only warnings are in the output of their suite.

Source: https://github.com/windyroad/JUnit-Schema, and the schema of Jenkins' xUnit plugin.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from convlast.report.gates import Decision
from convlast.report.listing import in_short
from convlast.report.rendering import claims, summary
from convlast.report.rendering.notation import cut, printable
from convlast.report.sections import Finding, Layer, ReportData

_UNKNOWN_TIME = "1970-01-01T00:00:00"
"""The time of a report of an older version; the schema wants one."""

_MOST_BYTES = 1_000
"""The most bytes of a name; a message may have three times as many. A list shows them whole."""


@dataclass(frozen=True)
class Case:
    """A case of a test.

    Attributes:
        group: What kind of thing is tested, such as `layers`.
        name: The thing.
        result: What came of it.
        text: Why, if it did not pass.
    """

    group: str
    name: str
    result: Literal["passed", "failed", "skipped"]
    text: str = ""


def render(report: ReportData, more: Sequence[Case] = ()) -> str:
    """Render a report as JUnit XML.

    Args:
        report: The report.
        more: Other cases, which come last in the suite of the whole report.
    """
    root = Element("testsuites")
    _add_suite(root, report, [*_cases(report), *more])
    for alone in _files(report):
        _add_suite(root, alone, [*_cases(alone)])
    indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{tostring(root, encoding="unicode")}\n'


def of_gate(decision: Decision) -> Case:
    """Return the case of a gate."""
    if decision.is_skipped:
        return Case("gates", decision.gate, "skipped", decision.message)
    return Case("gates", decision.gate, *_result(not decision.passed, decision.message))


def _files(report: ReportData) -> Iterator[ReportData]:
    """Yield a report on each file of a model folder that has layers or findings."""
    layers: dict[str | None, list[Layer]] = {}
    findings: dict[str | None, list[Finding]] = {}
    for layer in report.layers:
        layers.setdefault(layer.file, []).append(layer)
    for found in report.findings:
        findings.setdefault(found.file, []).append(found)
    for section in summary.told_sections(report):
        own = {"layers": layers.get(section.path, []), "findings": findings.get(section.path, [])}
        name = f"{report.input.filename}/{section.path}"
        named = section.input.model_copy(update={"filename": name})
        part = section.model_copy(update={"input": named})
        alone = report.model_copy(update=own).of_file(part)
        yield alone.model_copy(update={"made_at": report.made_at})


def _cases(report: ReportData) -> Iterator[Case]:
    """Yield the cases of a report; those of its files, if it has some, are apart."""
    is_failed = report.verdict == "failed"
    errors = [found for found in report.findings if found.severity == "error"]
    why = in_short([*map(summary.told, errors)]) or summary.VERDICTS[report.verdict]
    yield Case("verdict", "Verdict", *_result(is_failed, why))
    if claims.are_made(report) or any(section.proof for section in report.files):
        for claim in claims.of_report(report):
            if claim.state == "unknown":
                yield Case("claims", claim.title, "skipped", claim.text)
            else:
                is_broken = is_failed and claim.state == "bad"
                yield Case("claims", claim.title, *_result(is_broken, claim.text))
    if not report.files:
        told: dict[str | None, list[str]] = {}
        for found in errors:
            told.setdefault(found.layer, []).append(summary.told(found))
        yield from (_case(layer, told.get(layer.name, [])) for layer in report.layers)


def _result(is_failed: bool, why: str) -> tuple[Literal["passed", "failed"], str]:
    return ("failed", why) if is_failed else ("passed", "")


def _case(layer: Layer, errors: Sequence[str]) -> Case:
    """Return the case of a layer: one that is not converted, on purpose or not, is skipped."""
    about = [*errors]
    if layer.smoke and layer.smoke.status == "failed":
        about.append(layer.smoke.reason or "The layout is at fault in fp16.")
    if about:
        return Case("layers", layer.name, "failed", in_short(about))
    if layer.status in {"kept", "skipped"}:
        why = layer.reason or summary.STATUSES[layer.status]
        return Case("layers", layer.name, "skipped", why)
    return Case("layers", layer.name, "passed")


def _add_suite(root: Element, report: ReportData, cases: Sequence[Case]) -> None:
    """Add a suite; which fields it has, and their order, are those of both schemas."""
    name = cut(printable(report.input.filename), _MOST_BYTES) or "no name"
    results = Counter(case.result for case in cases)
    suite = SubElement(
        root,
        "testsuite",
        name=name,
        package="convlast",
        id=str(len(root)),
        timestamp=_time(report.made_at),
        hostname="localhost",
        tests=str(len(cases)),
        failures=str(results["failed"]),
        errors="0",
        skipped=str(results["skipped"]),
        time=f"{sum(report.seconds.values()):.3f}",
    )
    facts = SubElement(suite, "properties")
    for fact, value in _facts(report).items():
        SubElement(facts, "property", name=fact, value=printable(value))
    for case in cases:
        _add_case(suite, case, name)
    told = [printable(summary.told(found)) for found in _told_here(report)]
    SubElement(suite, "system-out").text = "\n".join(told)
    SubElement(suite, "system-err")


def _add_case(suite: Element, case: Case, of: str) -> None:
    # A view tells cases apart by both names, of all reports of a pipeline.
    title = cut(printable(case.name), _MOST_BYTES) or "no name"
    place, text = f"{of}/{case.group}", cut(printable(case.text), 3 * _MOST_BYTES)
    added = SubElement(suite, "testcase", name=title, classname=place, time="0.000")
    if case.result == "failed":
        SubElement(added, "failure", type=case.group, message=text).text = text
    elif case.result == "skipped":
        SubElement(added, "skipped", message=text)


def _told_here(report: ReportData) -> list[Finding]:
    return summary.findings_of_none(report) if report.files else report.findings


def _facts(report: ReportData) -> dict[str, str]:
    made = report.environment
    return {
        "verdict": report.verdict,
        "sha256": report.input.sha256,
        "convlast": made.convlast,
        "torch": made.torch,
        "device": made.gpu or made.device,
    }


def _time(made_at: str | None) -> str:
    """Return a time as the schema wants it, without a zone.

    >>> _time("2026-01-31T23:59:59Z"), _time("soon")
    ('2026-01-31T23:59:59', '1970-01-01T00:00:00')
    """
    try:
        return datetime.fromisoformat(made_at or "").strftime("%Y-%m-%dT%H:%M:%S")
    except ValueError:  # of another version
        return _UNKNOWN_TIME
