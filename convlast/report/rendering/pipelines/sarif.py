"""The report as SARIF 2.1.0, which code-scanning pages read: a result for each finding.

Source: https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import metadata
from typing import Any, get_args
from urllib.parse import quote

from convlast.report.codes import FINDINGS
from convlast.report.rendering import notation, summary
from convlast.report.sections import Finding, InputFile, ReportData, Severity

MOST_RESULTS = 5_000
"""GitHub shows no more of a file."""

_MOST_BYTES = 1_000
"""The most bytes of a message or a name: GitHub cuts at 1,024 characters."""

_SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
_LEVELS: dict[Severity, str] = {"error": "error", "warning": "warning", "info": "note"}


def render(report: ReportData) -> str:
    """Render a report as SARIF; the same report gives the same text."""
    log = {"$schema": _SCHEMA, "version": "2.1.0", "runs": [_run(report)]}
    return f"{json.dumps(log, indent=1)}\n"


def _run(report: ReportData) -> dict[str, Any]:
    gravity = get_args(Severity).index
    findings = sorted(report.findings, key=lambda found: gravity(found.severity))
    shown, left_out = findings[:MOST_RESULTS], max(len(findings) - MOST_RESULTS, 0)
    codes = list(dict.fromkeys(found.code for found in shown))
    inputs = {each.path: each.input for each in report.files}
    files = list(dict.fromkeys(found.file for found in shown))
    return {
        "tool": {"driver": _driver(report, codes)},
        "columnKind": "unicodeCodePoints",
        "invocations": [_invocation(report, left_out)],
        "artifacts": [
            _artifact(_uri(report, file), inputs.get(file or "", report.input)) for file in files
        ],
        "results": list(_results(report, shown, codes, files)),
        "properties": {"verdict": report.verdict, "resultsLeftOut": left_out},
    }


def _driver(report: ReportData, codes: Sequence[str]) -> dict[str, Any]:
    return {
        "name": "convlast",
        "version": report.environment.convlast,
        "rules": [_rule(code) for code in codes],
    }


def _rule(code: str) -> dict[str, Any]:
    """Describe a code as the registry does; one of a later version has nothing but its name."""
    kind = FINDINGS.get(code)
    if kind is None:
        return {"id": code}
    rule: dict[str, Any] = {
        "id": code,
        "shortDescription": _message(kind.meaning),
        "help": _message(f"{kind.meaning} {kind.cure}".rstrip()),
        "defaultConfiguration": {"level": _LEVELS[kind.severity]},
    }
    if (page := _page_of_findings()) is not None:
        rule["helpUri"] = f"{page}#{code}"
    return rule


@cache
def _page_of_findings() -> str | None:
    """Return the address of docs/reference/findings.md, if the package's metadata names one."""
    try:
        urls = metadata.metadata("convlast").get_all("Project-URL") or []
    except metadata.PackageNotFoundError:  # run from a checkout
        return None
    named = dict(url.split(", ", 1) for url in urls)
    return named.get("Findings")


def _message(text: str) -> dict[str, str]:
    r"""Write a message whose text is no link and has no placeholder (sections 3.11.5, 3.11.6).

    >>> _message("`a` {0} [b](c)")
    {'text': 'a {{0}} [b] (c)'}
    """
    plain = (
        notation.cut(notation.printable(text), _MOST_BYTES).replace("`", "").replace("](", "] (")
    )
    return {"text": plain.replace("{", "{{").replace("}", "}}")}


def _invocation(report: ReportData, left_out: int) -> dict[str, Any]:
    told: dict[str, Any] = {"executionSuccessful": True}
    if left_out:
        number = notation.count(left_out, "finding")
        text = f"{number} of the least severity left out here; the JSON report has all."
        note = {"level": "warning", "message": _message(text)}
        told["toolExecutionNotifications"] = [note]
    return told


def _artifact(uri: str, file: InputFile) -> dict[str, Any]:
    """Describe the input, or a file of a model folder."""
    return {
        "location": {"uri": uri},
        "roles": ["analysisTarget"],
        "length": file.bytes,
        "hashes": {"sha-256": file.sha256},
    }


def _uri(report: ReportData, file: str | None) -> str:
    """Return the place of a file, relative to the folder that the input is in."""
    name = report.input.filename
    return quote(name if file is None else f"{name}/{file}", errors="replace") or "."


def _results(
    report: ReportData, shown: Sequence[Finding], codes: Sequence[str], files: Sequence[str | None]
) -> Iterator[dict[str, Any]]:
    rules, places = ({each: n for n, each in enumerate(of)} for of in (codes, files))
    seen: Counter[str] = Counter()
    for found in shown:
        place = {"uri": _uri(report, found.file), "index": places[found.file]}
        # GitHub wants a line, and a checkpoint has none.
        location: dict[str, Any] = {
            "physicalLocation": {"artifactLocation": place, "region": {"startLine": 1}}
        }
        if found.layer is not None:
            name = notation.cut(notation.printable(found.layer), _MOST_BYTES)
            location["logicalLocations"] = [{"fullyQualifiedName": name, "kind": "member"}]
        about = summary.subject_of(found)
        digest = _fingerprint(report, found)
        seen[digest] += 1
        yield {
            "ruleId": found.code,
            "ruleIndex": rules[found.code],
            "level": _LEVELS[found.severity],
            "message": _message(f"{about}: {found.message}" if about else found.message),
            "locations": [location],
            "partialFingerprints": {
                "convlast/v1": f"{digest}:{seen[digest]}",
                # The one that GitHub reads. It would make it of the line, and all have the same.
                "primaryLocationLineHash": f"{digest}:{seen[digest]}",
            },
        }


def _fingerprint(report: ReportData, found: Finding) -> str:
    """Return what is the same for a finding in each run: its code, file and tensor, no number."""
    parts = [found.code, report.input.filename, found.file or "", found.layer or ""]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
