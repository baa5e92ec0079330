"""deploy/grafana-dashboard.json, and the metrics that it and the alerts name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own
from prometheus_client import ProcessCollector

from service.telemetry.families import FAMILIES
from tests.deploy.promtool import promtool

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "deploy" / "grafana-dashboard.json"
RULES = ROOT / "deploy" / "prometheus-rules.yaml"
REFERENCE = ROOT / "docs" / "reference" / "metrics.md"
OPERATION = ROOT / "docs" / "operations.md"

_METRIC = re.compile(r"\b(?:convlast|process)_[a-z_]+\b(?=[{\[) ]|$)")
_PART_OF_HISTOGRAM = re.compile(r"_(bucket|sum|count)$")


def dashboard() -> Any:
    """Return the dashboard."""
    return json.loads(DASHBOARD.read_text())


def panels() -> list[dict[str, Any]]:
    """Return its panels, without the rows."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def expressions() -> list[str]:
    """Return the expressions of its panels and annotations."""
    notes = [each["expr"] for each in dashboard()["annotations"]["list"]]
    return [target["expr"] for panel in panels() for target in panel["targets"]] + notes


def alerts() -> Iterator[dict[str, Any]]:
    """Yield the alerts."""
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        yield from group["rules"]


def named_in(texts: list[str]) -> set[str]:
    """Return the metrics that expressions name."""
    found = {name for text in texts for name in _METRIC.findall(text)}
    histograms = {each.name for each in FAMILIES if each.kind == "histogram"}
    bare = {_PART_OF_HISTOGRAM.sub("", name): name for name in found}
    return {bared if bared in histograms else name for bared, name in bare.items()}


def known() -> set[str]:
    """Return the metrics that there are."""
    of_process = ProcessCollector(registry=None).collect()
    names = {f"{each.name}_total" if each.type == "counter" else each.name for each in of_process}
    return names | {family.name for family in FAMILIES}


def test_alerts_name_metrics_that_exist() -> None:
    """A metric that is renamed must not silence an alert."""
    named = named_in([alert["expr"] for alert in alerts()])
    assert len(named) > 20
    assert named <= known()


def test_the_dashboard_shows_every_metric_of_the_service() -> None:
    """And none that does not exist."""
    named = named_in(expressions())
    assert named <= known()
    assert {family.name for family in FAMILIES} <= named


def test_the_reference_has_a_line_for_each_metric() -> None:
    """So has a person who reads an alert."""
    lines = set(re.findall(r"^\| `(\w+)` \|", REFERENCE.read_text(), re.MULTILINE))
    assert lines == known()


def test_each_alert_says_what_to_do() -> None:
    """It has a severity and texts, and a row in docs/operations.md."""
    rows = set(re.findall(r"^\| `(Convlast\w+)` \|", OPERATION.read_text(), re.MULTILINE))
    assert rows == {alert["alert"] for alert in alerts()}
    for alert in alerts():
        assert alert["labels"]["severity"] in {"critical", "warning"}
        assert alert["annotations"].keys() == {"summary", "description"}


def test_panels_do_not_overlap() -> None:
    """Each has its own id and place, a title, and the data source that the reader chooses."""
    everything = dashboard()["panels"]
    assert len({panel["id"] for panel in everything}) == len(everything)
    taken: set[tuple[int, int]] = set()
    for panel in everything:
        place = panel["gridPos"]
        own = {
            (place["x"] + right, place["y"] + down)
            for right in range(place["w"])
            for down in range(place["h"])
        }
        assert panel["title"]
        assert max(right for right, _ in own) < 24
        assert not own & taken
        taken |= own
    assert {panel["datasource"]["uid"] for panel in panels()} == {"${datasource}"}


@pytest.mark.promtool
def test_prometheus_reads_the_expressions_of_the_dashboard(tmp_path: Path) -> None:
    """Each one is valid, with Grafana's variables filled in."""
    filled = [expression.replace("$__rate_interval", "5m") for expression in expressions()]
    rules = [
        {"record": f"panel:{number}", "expr": expression}
        for number, expression in enumerate(filled)
    ]
    file = tmp_path / "panels.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"{len(rules)} rules found" in promtool("check", "rules", file)
