"""The findings on the page: a card for each code, each message once."""

from __future__ import annotations

from collections.abc import Sequence

from convlast.report.rendering import notation, summary, tables
from convlast.report.rendering.markup import Markup, element
from convlast.report.sections import Finding, Severity

_STATES: dict[Severity, summary.State] = {
    "error": "bad",
    "warning": "caution",
    "info": "unknown",
}
_SHOWN = 8
"""The most messages of a card, and names of a message, that are shown at once."""


def card(group: summary.FindingGroup) -> Markup:
    """Write the findings with one code."""
    state = _STATES[group.severity]
    number = f" ×{len(group.findings):,}" if len(group.findings) > 1 else ""
    title = tables.tag(group.severity, state), " ", element("code", group.code), number
    messages: dict[str, list[Finding]] = {}
    for finding in group.findings:
        messages.setdefault(finding.message, []).append(finding)
    items = [element("li", *_message(text, found)) for text, found in messages.items()]
    listed = [element("ul", *items[:_SHOWN], class_="single" if len(items) == 1 else "several")]
    if len(items) > _SHOWN:
        more = element("summary", notation.count(len(items) - _SHOWN, "more message"))
        listed.append(element("details", more, element("ul", *items[_SHOWN:])))
    return element("div", element("h3", *title), *listed, class_=f"card finding {state}")


def _message(text: str, findings: Sequence[Finding]) -> list[Markup | str]:
    """Write a message after what it is about; if it is about several, before their names."""
    names = list(dict.fromkeys(filter(None, map(_subject, findings))))
    if len(names) <= 1:
        return [*(part for name in names for part in (element("code", name), ": ")), text]
    codes = [element("code", name) for name in names]
    if len(names) <= _SHOWN:
        return [text, _names(codes)]
    more = element("summary", f"All {len(names):,} names")
    return [text, element("details", more, _names(codes))]


def _names(codes: Sequence[Markup]) -> Markup:
    return element("p", Markup(", ".join(codes)), class_="names")


def _subject(finding: Finding) -> str | None:
    """Return what to name with the message: the file and the layer, unless it names them itself."""
    layer = summary.subject_of(finding)
    file = finding.file if finding.file and finding.file not in finding.message else None
    return ": ".join(part for part in (file, layer) if part) or None
