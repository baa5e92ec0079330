from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from pydantic import BaseModel, ValidationError

from convlast.report import Report
from convlast.report.changes import Comparison, Trend
from convlast.report.comparing import compare
from tests.convlast.report.arbitrary_reports import recorded, reports

OPPOSITE: dict[Trend, Trend] = {"better": "worse", "worse": "better", "same": "same"}


def changed(**updates: Any) -> Report:
    """Return the recorded report with other members."""
    return Report.model_validate(recorded() | updates)


def with_layer(index: int, **updates: Any) -> Report:
    """Return the recorded report with one layer changed."""
    found = recorded()
    found["layers"][index] |= updates
    return Report.model_validate(found)


@pytest.fixture
def report() -> Report:
    """The recorded report."""
    return changed()


def said(changes: Sequence[BaseModel]) -> Counter[str]:
    """Return what can be counted and compared, in any order."""
    return Counter(each.model_dump_json() for each in changes)


@given(reports())
def test_a_report_compared_with_itself_has_no_change(report: Report) -> None:
    """Nothing came, went or changed, whatever the report has, twice or not."""
    found = compare(report, report.model_copy(deep=True))
    assert not found.changed
    assert found.trends == set()
    assert (found.verdict, found.same_input) == ("same", True)
    counted = {"findings", "layers", "errors", "times", "survival", "files"}
    for name in counted:
        for field, value in getattr(found, name):
            assert field == "unchanged" or not value, (name, field)
    assert not any((found.facts, found.options, found.environment))
    assert found.layers.unchanged == len(report.layers)
    assert found.findings.unchanged == len(report.findings)


@given(reports(), reports())
def test_the_other_order_has_the_same_changes_the_other_way_round(
    first: Report, second: Report
) -> None:
    """What came went, what is better is worse, and each pair of values is swapped."""
    one, other = compare(first, second), compare(second, first)
    assert one.changed == other.changed
    assert one.verdict == OPPOSITE[other.verdict]
    assert {OPPOSITE[trend] for trend in one.trends} == other.trends
    assert said(one.findings.came) == said(other.findings.went)
    assert said(one.layers.came) == said(other.layers.went)
    assert Counter(one.files.came) == Counter(other.files.went)
    for name in ("facts", "options", "environment"):
        swapped = [(each.field, each.after, each.before) for each in getattr(other, name)]
        assert [(each.field, each.before, each.after) for each in getattr(one, name)] == swapped
    assert (one.errors.only_before, one.times.only_before) == (
        other.errors.only_after,
        other.times.only_after,
    )
    for name in ("errors", "survival"):
        there = Counter(
            (each.before, each.after, each.trend) for each in getattr(one, name).changed
        )
        back = Counter(
            (each.after, each.before, OPPOSITE[each.trend]) for each in getattr(other, name).changed
        )
        assert there == back
    assert Counter(each.speedup for each in one.times.changed) == Counter(
        OPPOSITE[each.speedup] for each in other.times.changed
    )


@given(reports(), reports())
def test_everything_is_counted_once(first: Report, second: Report) -> None:
    """Each layer, finding and file of both reports is in one list, or counted as unchanged."""
    found = compare(first, second)
    for name, old, new in (
        ("layers", first.layers, second.layers),
        ("findings", first.findings, second.findings),
        ("files", first.files, second.files),
    ):
        part = getattr(found, name)
        both = len(part.changed) + part.unchanged
        assert (both + len(part.went), both + len(part.came)) == (len(old), len(new)), name


@given(reports(), reports())
def test_a_comparison_reads_back(first: Report, second: Report) -> None:
    """Its JSON is valid, without NaN, and has all of it."""
    found = compare(first, second)
    text = found.model_dump_json()
    assert Comparison.model_validate_json(text) == found
    assert "NaN" not in text


def test_layers_that_came_went_or_changed(report: Report) -> None:
    """Layers are matched by name; status, strides and reason are told, the others counted."""
    found = recorded()
    gone = found["layers"].pop(0)
    found["layers"][0] |= {"status": "skipped", "reason": "shared-storage"}
    found["layers"].append({**gone, "name": "new.weight"})
    layers = compare(report, Report.model_validate(found)).layers
    assert [each.name for each in layers.went] == [gone["name"]]
    assert [each.name for each in layers.came] == ["new.weight"]
    [change] = layers.changed
    assert change.name == found["layers"][0]["name"]
    assert [(each.field, each.before, each.after) for each in change.changes] == [
        ("status", "converted", "skipped"),
        ("reason", None, "shared-storage"),
    ]
    assert layers.unchanged == len(report.layers) - 2


def test_a_layer_is_known_by_its_file_and_wrapper_too(report: Report) -> None:
    """A layer of the same name in another state dict is another layer."""
    layers = compare(report, with_layer(0, wrapper="ema")).layers
    assert (len(layers.came), len(layers.went), layers.changed) == (1, 1, [])


def test_a_finding_with_another_message_is_the_same_finding(report: Report) -> None:
    """A finding is known by code, severity, layer and file; its message may change."""
    found = recorded()
    found["findings"][0]["message"] = "3 of 32 values."
    found["findings"][2]["severity"] = "error"
    findings = compare(report, Report.model_validate(found)).findings
    assert [each.after for each in findings.changed] == ["3 of 32 values."]
    assert [each.severity for each in findings.came] == ["error"]
    assert [each.severity for each in findings.went] == ["warning"]
    assert findings.unchanged == 2


def test_the_verdict_has_a_trend(report: Report) -> None:
    """From passed with findings to failed is worse."""
    found = compare(report, changed(verdict="failed"))
    assert (found.verdict, found.trends) == ("worse", {"worse"})
    assert [each.field for each in found.facts] == ["verdict"]


def test_a_way_of_loading_that_loses_the_layout_is_worse(report: Report) -> None:
    """Kept, lost, never kept and not tried are told apart; only lost after kept is worse."""
    found = recorded()
    found["survival"][0]["survives"] = False
    found["survival"][3] |= {"survives": False, "always_lost": True}
    del found["survival"][2]
    changes = compare(report, Report.model_validate(found)).survival.changed
    assert [(each.before, each.after, each.trend) for each in changes] == [
        ("kept", "lost", "worse"),
        ("not tried", "never kept", "same"),
        ("kept", None, "same"),
    ]


def test_versions_and_options_that_differ(report: Report) -> None:
    """Each field of the environment and of the options that differs is told."""
    found = recorded()
    found["environment"] |= {"torch": "2.14.0", "gpu": "H100"}
    found["options"]["smoke"] = "none"
    both = compare(report, Report.model_validate(found))
    assert {each.field for each in both.environment} == {"torch", "gpu"}
    assert [(each.before, each.after) for each in both.options] == [("auto", "none")]


def test_dates_ids_and_wall_times_are_no_change(report: Report) -> None:
    """The same conversion, run again, has no change."""
    again = changed(
        made_at="2026-01-31T23:59:59Z", job_id="a", request_id="b", seconds={"write": 9.0}
    )
    assert not compare(report, again).changed


def test_tensors_that_differ_are_told() -> None:
    """Where both reports have the digest of the tensors."""
    before, after = (
        changed(input=recorded()["input"] | {"tensors_sha256": each * 64}) for each in "ab"
    )
    [told] = compare(before, after).facts
    assert (told.field, told.before, told.after) == ("input.tensors_sha256", "a" * 64, "b" * 64)


def test_an_inspection_against_a_conversion(report: Report) -> None:
    """What only a conversion has is one change each, and errors are counted."""
    layers = [{**layer, "smoke": None} for layer in recorded()["layers"]]
    nothing: dict[str, Any] = {
        "artifact": None,
        "proof": None,
        "smoke": None,
        "advice": None,
        "survival": [],
    }
    found = compare(changed(**nothing, layers=layers), report)
    fields = {each.field: each.before for each in found.facts}
    assert fields.keys() >= {"artifact", "proof", "smoke"}
    assert set(fields.values()) == {None}
    assert found.errors.changed == []
    assert found.errors.only_after > 0
    assert {each.before for each in found.survival.changed} == {None}


def test_a_folder_is_compared_by_file(report: Report) -> None:
    """Files are matched by path; what is said of each is compared."""
    found = recorded()
    section = {name: found[name] for name in ("verdict", "input", "artifact", "proof", "smoke")}
    one = {**section, "path": "a.pt", "role": "checkpoint", "survival": found["survival"]}
    moved = {**one, "path": "b.pt", "verdict": "failed", "survival": []}
    before = changed(files=[one, {**one, "path": "b.pt"}], smoke=None, survival=[])
    after = changed(files=[moved, {**one, "path": "c.pt"}], smoke=None, survival=[])
    files = compare(before, after).files
    assert (files.came, files.went) == (["c.pt"], ["a.pt"])
    assert [(each.path, each.changes[0].field) for each in files.changed] == [("b.pt", "verdict")]
    routes = compare(before, after).survival.changed
    assert {each.file for each in routes if each.after is None} == {"a.pt", "b.pt"}
    alone = compare(report, after)
    assert alone.files.came == ["b.pt", "c.pt"]


def test_a_comparison_is_frozen(report: Report) -> None:
    """Nobody changes it afterwards."""
    with pytest.raises(ValidationError, match="frozen"):
        compare(report, report).changed = True  # type: ignore[misc]  # that is the point
