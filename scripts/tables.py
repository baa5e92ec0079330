"""Write the tables of the README and of docs/reference from the code they describe (`make fix`)."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args, get_origin

from prometheus_client import ProcessCollector

from convlast.cli.codes import STATUSES, table
from convlast.options import Options
from convlast.report.codes import FINDINGS
from scripts.figures import figures, headline
from service.problems import TABLE
from service.telemetry.families import FAMILIES
from service.usage import IN_WORDS, described

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs" / "reference").glob("*.md")))
_PLACE = re.compile(r"(<!-- begin (\w+) -->\n).*?(<!-- end \2 -->)", re.DOTALL)


def main() -> None:
    """Bring the pages up to date."""
    argparse.ArgumentParser(prog="python -m scripts.tables", description=__doc__).parse_args()
    for page in PAGES:
        page.write_text(filled(page.read_text()))


def filled(text: str) -> str:
    """Return a text with each marked place filled with its table."""
    tables = {
        "codes": codes(),
        "errors": errors(),
        "statuses": statuses(),
        "figures": figures(),
        "findings": findings(),
        "headline": headline(),
        "metrics": metrics(),
        "options": options(),
        "settings": settings(),
    }
    return _PLACE.sub(lambda place: f"{place[1]}\n{tables[place[2]]}\n\n{place[3]}", text)


def settings() -> str:
    """Return the variable of each setting, its default and its meaning."""
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    for variable, default, meaning in described():
        value = f"`{default}`" if default and default not in IN_WORDS.values() else default
        escaped = meaning.replace("|", "\\|")
        rows.append(f"| `{variable}` | {value} | {escaped} |")
    return "\n".join(rows)


def options() -> str:
    """Return the options, their values with the default first, and what they mean."""
    rows = ["| option | values, default first | meaning |", "|---|---|---|"]
    for name, field in Options.model_fields.items():
        values = _values(field.annotation) or ["a value"]
        default = field.get_default(call_default_factory=True, validated_data={})
        first = "none" if default in (None, {}) else _plain(default)
        rest = [value for value in values if value != first]
        shown = ", ".join(f"`{value}`" for value in [first, *rest] if value != "a value")
        meaning = (field.description or "").replace("\n", " ").replace("|", "\\|")
        rows.append(f"| `{name}` | {shown} | {meaning} |")
    return "\n".join(rows)


def errors() -> str:
    """Return the closed table of error codes."""
    rows = ["| status | code | meaning |", "|---|---|---|"]
    rows += [f"| {row.status} | `{code}` | {row.title} |" for code, row in TABLE.items()]
    return "\n".join(rows)


def codes() -> str:
    """Return the closed table of the codes of the command line."""
    rows = ["| exit status | code | meaning |", "|---:|---|---|"]
    rows += [f"| {row.status} | `{code}` | {row.meaning} |" for code, row in table().items()]
    return "\n".join(rows)


def statuses() -> str:
    """Return the exit statuses of the command line."""
    rows = ["| exit status | meaning |", "|---:|---|"]
    rows += [f"| {status} | {meaning} |" for status, meaning in STATUSES.items()]
    return "\n".join(rows)


def findings() -> str:
    """Return the codes of findings, their severities, what they mean, and what to do."""
    rows = ["| code | severity | meaning | what to do |", "|---|---|---|---|"]
    for code, kind in FINDINGS.items():
        severity = f"{kind.severity}, {kind.other}" if kind.other else kind.severity
        anchor = f'<a id="{code}"></a>'  # which the rules of a SARIF report lead to
        rows.append(f"| {anchor}`{code}` | {severity} | {kind.meaning} | {kind.cure} |")
    return "\n".join(rows)


def metrics() -> str:
    """Return the metrics of the service, and those that the client of Prometheus has."""
    rows = ["| metric | type | labels | meaning |", "|---|---|---|---|"]
    for family in FAMILIES:
        labels = ", ".join(f"`{label}`" for label in family.labels)
        rows.append(f"| `{family.name}` | {family.kind} | {labels} | {family.meaning} |")
    for each in ProcessCollector(registry=None).collect():
        name = f"{each.name}_total" if each.type == "counter" else each.name
        rows.append(f"| `{name}` | {each.type} |  | {each.documentation} |")
    return "\n".join(rows)


def _values(annotation: Any) -> list[str]:
    """Return the literal values that an annotation allows."""
    if get_origin(annotation) is Literal:
        return [str(value) for value in get_args(annotation)]
    if isinstance(annotation, UnionType):
        return [value for part in get_args(annotation) for value in _values(part)]
    return []


def _plain(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


if __name__ == "__main__":
    main()
