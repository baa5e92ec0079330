"""The report as JUnit XML, as the views of pipelines read it.

No package on PyPI has a schema of JUnit. `check` holds what the two that are in use demand: that of
Ant's task (windyroad/JUnit-Schema), which is the stricter one, and that of Jenkins' xUnit plugin.
"""

from __future__ import annotations

import re
from collections import Counter
from xml.etree.ElementTree import Element, fromstring

import pytest
from hypothesis import given
from junitparser import Failure, JUnitXml, Skipped, TestCase, TestSuite

from convlast.report import Report
from convlast.report.gates import Decision
from convlast.report.rendering.pipelines import junit
from convlast.report.rendering.pipelines.junit import Case
from convlast.report.sections import Finding
from tests.convlast.report.arbitrary_reports import reports
from tests.convlast.report.rendering import building

SUITE = {
    "name": ".+",
    "package": ".+",
    "id": r"\d+",
    "timestamp": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d",
    "hostname": ".+",
    "tests": r"\d+",
    "failures": r"\d+",
    "errors": r"\d+",
    "skipped": r"\d+",
    "time": r"\d+\.\d{3}",
}


def check(text: str) -> Element:
    """Return the root of a document that both schemas take."""
    root = fromstring(text)  # noqa: S314  # it was made here
    assert (root.tag, root.attrib) == ("testsuites", {})
    for index, suite in enumerate(root):
        assert suite.tag == "testsuite"
        assert suite.attrib.keys() == SUITE.keys()
        assert all(re.fullmatch(SUITE[name], value) for name, value in suite.items())
        cases = suite.findall("testcase")
        order = ["properties", *("testcase" for _ in cases), "system-out", "system-err"]
        assert [each.tag for each in suite] == order
        assert [int(suite.attrib[name]) for name in ("id", "tests", "failures", "skipped")] == [
            *(index, len(cases)),
            *(sum(case.find(tag) is not None for case in cases) for tag in ("failure", "skipped")),
        ]
        for case in cases:
            assert case.attrib.keys() == {"name", "classname", "time"}
            assert all(case.attrib.values())
            assert [each.tag for each in case] in ([], ["failure"], ["skipped"])
    return root


def suites(report: Report, *more: Case) -> list[TestSuite]:
    """Return the suites of a report, as junitparser reads them."""
    text = junit.render(report, more)
    check(text)
    return list(JUnitXml.fromstring(text.encode()))


def cases(suite: TestSuite) -> dict[str, TestCase]:
    """Return the cases of a suite by their names."""
    return {case.name: case for case in suite}


def test_each_claim_and_each_layer_has_a_case() -> None:
    """Layers that are not converted are skipped, and say why; so are claims without a proof."""
    report = building.recorded()
    [suite] = suites(report)
    found = cases(suite)
    claims = ["Converted exactly", "Survives loading", "Runs in fp16", "Pays on this device"]
    assert list(found) == ["Verdict", *claims, *(layer.name for layer in report.layers)]
    assert suite.failures == 0
    skipped = {name: str(each.message) for name, case in found.items() for each in case.result}
    assert skipped == {
        "Pays on this device": "Speed was not measured.",
        "decoder.proj.weight": "shared-storage",
        "decoder.frozen.weight": "not selected",
    }
    assert all(isinstance(each, Skipped) for case in suite for each in case.result)
    assert found["Verdict"].classname == "checkpoint_final.pth/verdict"
    output = check(junit.render(report)).findtext("testsuite/system-out", "")
    assert output.startswith("fp16-overflow: encoder.stages.0.0.convs.0.norm.running_var: 1 of 32")


def test_what_failed_is_shown() -> None:
    """The verdict and the layer that is to blame fail, with the message of the finding."""
    report = building.failed()
    [suite] = suites(report)
    failed = {
        name: str(each.message)
        for name, case in cases(suite).items()
        for each in case.result
        if isinstance(each, Failure)
    }
    assert failed.keys() == {"Verdict", report.layers[0].name}
    assert all("differs from the contiguous one by 0.25" in text for text in failed.values())


def test_a_broken_proof_fails_its_claim() -> None:
    """If the artifact is not the input, the claim says so."""
    report = building.failed()
    assert report.proof
    report.proof.values = "different"
    [suite] = suites(report)
    [result] = cases(suite)["Converted exactly"].result
    assert isinstance(result, Failure)
    assert "different values" in str(result.message)


def test_a_folder_has_a_suite_for_each_file() -> None:
    """Their cases have names of their own, and the first suite is about the folder."""
    whole, *files = suites(building.folder(3))
    folder = whole.name
    assert [suite.name for suite in files] == [f"{folder}/part{n}/model.pt" for n in range(3)]
    assert all("/layers" not in str(case.classname) for case in whole)
    names = [(case.classname, case.name) for suite in (whole, *files) for case in suite]
    assert len(names) == len(set(names))
    assert len(files[0]) == 12


def test_other_cases_come_last() -> None:
    """Those that are given beside, such as gates, are in the first suite."""
    [suite] = suites(building.recorded(), Case("gates", "min-speedup", "failed", "It is slower."))
    *_, last = suite
    assert (last.name, last.classname) == ("min-speedup", "checkpoint_final.pth/gates")
    assert [each.message for each in last.result] == ["It is slower."]


def test_the_time_is_that_of_the_report() -> None:
    """The schema knows no zone; the time is UTC."""
    report = building.folder(1).model_copy(update={"made_at": "2026-01-31T23:59:59Z"})
    assert {suite.timestamp for suite in suites(report)} == {"2026-01-31T23:59:59"}


@pytest.mark.parametrize(
    "text", [building.HOSTILE, "\x00\x08\x0b\ufffe\uffff", "]]>", "&lt;\n\t", ""]
)
def test_hostile_names_are_escaped(text: str) -> None:
    """XML cannot hold some characters at all: they are shown as their escapes."""
    for report in (building.recorded(), building.failed(), building.folder()):
        root = check(junit.render(building.poisoned(report, text)))
        tags = {"testsuites", "testsuite", "properties", "property", "testcase", "skipped"}
        assert {each.tag for each in root.iter()} <= {*tags, "failure", "system-out", "system-err"}


def test_all_of_many_layers_are_there() -> None:
    """A view of tests has room for 10,000 layers."""
    [suite] = suites(building.large(10_000))
    assert suite.tests == 10_005


@given(reports())
def test_any_report_has_a_form(report: Report) -> None:
    """Each report is valid, and one that failed has a failure."""
    found = suites(report)
    assert report.verdict != "failed" or found[0].failures


def test_messages_are_short() -> None:
    """A view shows them in a line: some errors, how many more, and no name of 200 kB."""
    report = building.failed()
    name = report.layers[0].name
    long = [
        report.findings[-1].model_copy(update={"message": f"{n} {'x' * 200_000}", "layer": layer})
        for n in range(9)
        for layer in (name, None)
    ]
    report.findings = long
    [suite] = suites(report, junit.of_gate(Decision("a", "b", "c" * 9_000)))
    failures = {
        name: str(each.message) for name, case in cases(suite).items() for each in case.result
    }
    assert max(len(text.encode()) for text in failures.values()) <= 3_000
    assert failures["Verdict"].endswith("And 13 more.")
    assert failures[name].endswith("And 5 more.")  # with what the smoke says


def test_a_gate_with_nothing_to_judge_is_skipped() -> None:
    """It has not passed, and it has not failed."""
    gate = Decision("min-speedup=1.5", "passed", "No speed was measured.", is_skipped=True)
    [suite] = suites(building.recorded(), junit.of_gate(gate))
    [result] = cases(suite)[gate.gate].result
    assert isinstance(result, Skipped)
    assert result.message == gate.message


def test_errors_are_not_looked_for_in_each_layer() -> None:
    """Each is looked at a few times, however many layers there are."""
    report = building.large(300)
    seen: Counter[str] = Counter()

    class Counted(Finding):
        def __getattribute__(self, name: str) -> object:
            seen[name] += 1
            return super().__getattribute__(name)

    report.findings = [
        Counted(code="layout-error", severity="error", layer=layer.name, message="It is wrong.")
        for layer in report.layers
    ]
    junit.render(report)
    assert 300 <= seen["layer"] <= 20 * 300
