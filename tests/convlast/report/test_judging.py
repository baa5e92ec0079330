from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from convlast.report import Report
from convlast.report.changes import Comparison, Judgement, Tolerance
from convlast.report.comparing import compare
from tests.convlast.report.arbitrary_reports import recorded, reports

DOCUMENT = (Path(__file__).parents[3] / "docs" / "gates.md").read_text()
PARTS = set(re.findall(r"^\| `(\w+)` \|", DOCUMENT, re.MULTILINE))
"""The parts that the document has rules for."""


def report(**updates: Any) -> Report:
    """Return the recorded report with other members."""
    return Report.model_validate(recorded() | updates)


def worse(before: Report, after: Report, **limits: float) -> list[tuple[str, str, str]]:
    """Return what got worse from one report to the other; the other way round it gets better."""
    found, back = (
        compare(*pair, Tolerance(**limits)) for pair in ((before, after), (after, before))
    )
    assert told(found.regressions) == told(back.improvements)
    return [(each.part, each.about, each.message) for each in found.regressions]


def told(judgements: list[Judgement]) -> Counter[tuple[str, str]]:
    """Return what was judged, in any order."""
    return Counter((each.part, each.about) for each in judgements)


@given(reports())
def test_a_report_is_no_worse_than_itself(found: Report) -> None:
    """Nothing is better or worse, however strict the limits are."""
    strict = Tolerance(max_error_growth=1, max_slowdown=0)
    for comparison in (compare(found, found), compare(found, found, strict)):
        assert comparison.regressions == comparison.improvements == []


@given(reports(), reports())
def test_swapped_reports_swap_better_and_worse(first: Report, second: Report) -> None:
    """Each regression is an improvement the other way round, and there are no others."""
    one, other = compare(first, second), compare(second, first)
    assert told(one.regressions) == told(other.improvements)
    assert told(one.improvements) == told(other.regressions)
    assert {each.trend for each in one.regressions} <= {"worse"}
    assert {each.trend for each in one.improvements} <= {"better"}
    assert {each.part for each in one.regressions} <= PARTS
    assert Comparison.model_validate_json(one.model_dump_json()) == one


def test_the_document_states_the_limits() -> None:
    """It has a row for each part, and the limits that are the defaults."""
    assert {
        "verdict",
        "findings",
        "layers",
        "errors",
        "times",
        "survival",
        "smoke",
        "proof",
    } == PARTS
    limits = Tolerance()
    assert f"`--max-error-growth` ({limits.max_error_growth:g})" in DOCUMENT
    assert f"`--max-slowdown` ({limits.max_slowdown:g}," in DOCUMENT


def test_a_worse_verdict_is_a_regression() -> None:
    """So is a first warning, and nothing of that kind is one the other way round."""
    assert worse(report(verdict="passed"), report()) == [
        ("verdict", "", "passed → passed_with_findings")
    ]


def test_findings_are_counted_by_code() -> None:
    """One more warning is a regression; another layer, another message or an info is none."""
    findings = recorded()["findings"]
    warning = next(each for each in findings if each["severity"] == "warning")
    more = report(findings=[*findings, {**warning, "layer": "new.weight"}])
    assert worse(report(), more) == [("findings", warning["code"], "1 more warning")]
    renamed = [
        {**each, "layer": "renamed", "message": "Otherwise."} if each is warning else each
        for each in findings
    ]
    assert worse(report(), report(findings=renamed)) == []
    told = [*findings, {**warning, "severity": "info"}]
    assert worse(report(), report(findings=told)) == []


def test_an_error_in_place_of_a_warning_is_worse() -> None:
    """What became milder is not worse because there is one more warning."""
    findings = recorded()["findings"]
    index = next(i for i, each in enumerate(findings) if each["severity"] == "warning")
    errors = [*findings]
    errors[index] = {**findings[index], "severity": "error"}
    code = findings[index]["code"]
    assert worse(report(), report(findings=errors)) == [("findings", code, "1 more error")]


def test_a_layer_that_is_skipped_now_is_worse() -> None:
    """A layer that was not selected is not: that was asked for."""
    layers = recorded()["layers"]
    assert layers[0]["status"] == "converted"
    skipped = [{**layers[0], "status": "skipped"}, *layers[1:]]
    name = layers[0]["name"]
    assert worse(report(), report(layers=skipped)) == [("layers", name, "converted → skipped")]
    kept = [{**layers[0], "status": "kept"}, *layers[1:]]
    assert worse(report(), report(layers=kept)) == []


def test_a_layer_of_the_same_file_does_not_vanish() -> None:
    """In another file layers come and go: it is another model."""
    layers = recorded()["layers"]
    fewer = report(layers=layers[1:])
    assert worse(report(), fewer)[0] == (
        *("layers", layers[0]["name"]),
        "is in the report no more",
    )
    other = report(layers=layers[1:], input=recorded()["input"] | {"sha256": "b" * 64})
    assert worse(report(), other) == []


@pytest.mark.parametrize(
    ("relative", "growth", "is_worse"),
    [(6e-4, 2.0, False), (7e-3, 2.0, True), (7e-3, 30.0, False), (3e-3, 9.0, True)],
)
def test_errors_grow_beyond_a_factor(relative: float, growth: float, is_worse: bool) -> None:
    """The limit is stated in the comparison."""
    found = recorded()
    parity = found["layers"][0]["smoke"]["parity"][0]
    assert (parity["relative"], parity["passed"]) == (0.00031, True)
    parity["relative"] = relative
    said = worse(report(), Report.model_validate(found), max_error_growth=growth)
    assert bool(said) == is_worse
    assert all(each[0] == "errors" for each in said)
    tolerance = Tolerance(max_error_growth=growth)
    assert compare(report(), report(), tolerance).tolerance == tolerance


def timed(*, gpu: str = "H100", **updates: Any) -> Report:
    """Return a report with a timing on a GPU."""
    timing = {"contiguous_s": 0.02, "converted_s": 0.01, "speedup": 2.0, "spread": 0.01}
    timing |= {"representative": True, **updates}
    smoke = recorded()["smoke"] | {"scope": "model", "timings": [timing]}
    return report(smoke=smoke, environment=recorded()["environment"] | {"gpu": gpu})


def test_a_slower_model_is_worse_beyond_a_tenth() -> None:
    """The limit can be another one; the spread counts in any case."""
    slow: dict[str, Any] = {"converted_s": 0.0115, "contiguous_s": 0.023}
    [(part, _, said)] = worse(timed(), timed(**slow))
    assert (part, said) == ("times", "float16: 10.0 ms → 11.5 ms, converted")
    assert worse(timed(), timed(**slow), max_slowdown=0.2) == []
    assert worse(timed(spread=0.2), timed(**slow, spread=0.2)) == []
    assert worse(timed(), timed(converted_s=0.0105, contiguous_s=0.021)) == []
    assert worse(timed(), timed(converted_s=0.0105, contiguous_s=0.021), max_slowdown=0.04)


def test_a_layout_that_pays_less_is_worse() -> None:
    """Unless the converted model is faster all the same; a smaller loss than a tenth is none."""
    [(_, _, said)] = worse(timed(), timed(contiguous_s=0.015, speedup=1.5))
    assert said == "float16: 2.00 → 1.50 times as fast as contiguous"
    assert worse(timed(), timed(contiguous_s=0.019, speedup=1.9)) == []
    faster = timed(converted_s=0.005, contiguous_s=0.006, speedup=1.2)
    assert worse(timed(), faster) == []


def test_times_of_another_gpu_or_of_no_gpu_are_not_judged() -> None:
    """Nor are those that were not stable."""
    slow: dict[str, Any] = {"converted_s": 0.04, "contiguous_s": 0.08}
    assert worse(timed(), timed(**slow))
    assert worse(timed(), timed(gpu="A100", **slow)) == []
    assert worse(timed(stable=False), timed(**slow)) == []
    assert worse(timed(representative=False), timed(representative=False, **slow)) == []


def test_a_way_of_loading_that_loses_the_layout_is_worse() -> None:
    """It is named."""
    survival = recorded()["survival"]
    lost = [{**survival[0], "survives": False}, *survival[1:]]
    assert worse(report(), report(survival=lost)) == [
        ("survival", survival[0]["route"], "kept → lost")
    ]


def test_less_that_was_run_is_worse() -> None:
    """Unless other options were asked for."""
    smoke = recorded()["smoke"]
    model = report(smoke=smoke | {"scope": "model"})
    assert ("smoke", "", "model → layers") in worse(model, report())
    asked = report(options=recorded()["options"] | {"smoke": "layers"})
    assert worse(model, asked) == []


def test_evidence_that_is_gone_is_worse() -> None:
    """A report without its whole smoke, or without its proof, proves less; so with a file's."""
    proof = recorded()["proof"]
    both, alone = report(proof=proof), report(proof=proof, smoke=None)
    assert ("smoke", "", "layers → none") in worse(both, alone)
    assert ("proof", "", "a proof → none") in worse(both, report(proof=None))
    nothing_ran = report(proof=proof, smoke=recorded()["smoke"] | {"scope": "none"})
    assert "smoke" not in {part for part, _, _ in worse(nothing_ran, alone)}
    assert worse(both, report(proof=None, options=recorded()["options"] | {"smoke": "none"})) == []
    section = {name: recorded()[name] for name in ("verdict", "input", "smoke")}
    section |= {"path": "a.pt", "role": "checkpoint"}
    whole, less = (report(files=[each]) for each in (section, section | {"smoke": None}))
    assert ("smoke", "a.pt", "layers → none") in worse(whole, less)


def test_a_file_and_a_folder_of_it_are_not_measured_against_each_other() -> None:
    """Of a folder the files have the smoke, and the whole has none: that proves no less."""
    section = {name: recorded()[name] for name in ("verdict", "input", "smoke")}
    section |= {"path": "a.pt", "role": "checkpoint"}
    file, folder = report(), report(smoke=None, files=[section])
    for pair in ((file, folder), (folder, file)):
        assert "smoke" not in {part for part, _, _ in worse(*pair)}
