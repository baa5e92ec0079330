from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convlast.errors import OptionError
from convlast.options import Options
from convlast.report import Report
from convlast.report.codes import FINDINGS
from convlast.report.gates import Decision, Gates, deciding, judge
from tests.convlast.report.arbitrary_reports import recorded, reports


def report(**updates: Any) -> Report:
    """Return the recorded report with other members."""
    return Report.model_validate(recorded() | updates)


def finding(code: str, severity: str = "info", message: str = "…") -> dict[str, Any]:
    """Return a finding."""
    return {"code": code, "severity": severity, "message": message}


def decided(found: Report, **asked: Any) -> Decision:
    """Judge a report, and return what decides."""
    return deciding(judge(found, Gates(**asked)))


def measured(*errors: tuple[str, float | None], passed: bool | None = True) -> Report:
    """Return a report whose smoke shows these errors."""
    parity = [
        {
            "pair": pair,
            "relative": relative,
            "passed": passed,
            "threshold": 0.02,
            "max_abs": relative,
            "mean_abs": relative,
            "cosine": 1.0,
            "layer": "a.weight",
        }
        for pair, relative in errors
    ]
    smoke = recorded()["smoke"] | {"parity": parity}
    return report(smoke=smoke, layers=finite_layers(), verdict="passed", findings=[])


def finite_layers() -> list[dict[str, Any]]:
    """Return the recorded layers, as if all values of their outputs were finite."""
    layers: list[dict[str, Any]] = recorded()["layers"]
    for layer in layers:
        if layer["smoke"]:
            layer["smoke"]["finite"] = True
    return layers


def test_the_verdict_alone_decides_by_default() -> None:
    """Findings that are no error let a report pass, and are named with their number."""
    assert decided(report()) == Decision(
        "verdict",
        "passed",
        "The verdict is passed_with_findings: fp16-overflow (2), layer-skipped.",
    )
    assert decided(report(verdict="passed", findings=[])).message == "The verdict is passed."


def test_a_failed_verdict_always_decides() -> None:
    """Its reason comes first, whatever else was asked for; many errors are counted."""
    errors = [finding("strides-wrong", "error", f"No {number}.") for number in range(7)]
    found = decided(report(verdict="failed", findings=errors), fail_on="values-changed")
    assert found.code == "verification-failed"
    assert found.message == "No 0. No 1. No 2. No 3. No 4. And 2 more."
    assert decided(report(verdict="failed", findings=[])).message == "The verdict is failed."


def test_a_finding_of_any_severity_can_stop() -> None:
    """The first message stands in the reason, with how often the finding is there."""
    told = [finding("fp16-emulated", message="No tensor cores.")] * 2
    found = decided(report(verdict="passed", findings=told), fail_on="warning,fp16-emulated")
    assert (found.gate, found.code) == ("fail-on=fp16-emulated", "finding-found")
    assert found.message == (
        "--fail-on=fp16-emulated, and the report has it 2 times, first: No tensor cores."
    )
    found = decided(report(verdict="passed", findings=told), fail_on=("fp16-overflow",))
    assert found.passed
    assert found.message == "The verdict is passed. There is no fp16-overflow."


def test_all_that_stops_is_told() -> None:
    """Where two gates stop, the first one gives the code, and both their reasons."""
    found = decided(report(), fail_on="warning,fp16-overflow")
    assert found.code == "warnings-found"
    assert "--fail-on=warning, " in found.message
    assert "--fail-on=fp16-overflow, " in found.message


@pytest.mark.parametrize("code", sorted(FINDINGS))
def test_every_code_of_the_registry_can_be_named(code: str) -> None:
    """And it decides by that code alone."""
    told = [finding(code)]
    assert decided(report(verdict="passed", findings=told), fail_on=code).code == "finding-found"
    others = [finding(other) for other in FINDINGS if other != code]
    assert decided(report(verdict="passed", findings=others), fail_on=code).passed


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"fail_on": "fp16-overflw"}, "no finding 'fp16-overflw'; it may be 'fp16-overflow'"),
        ({"fail_on": "warnings"}, "it may be 'warning'"),
        ({"fail_on": "warning,xyzzy"}, "it may be one of docs/reference/findings.md"),
        ({"max_error": "-1"}, "greater than or equal to 0"),
        ({"max_error": "nan"}, "finite"),
        ({"max_errors": "1"}, "max_error"),
    ],
)
def test_what_does_not_exist_is_refused_with_near_names(asked: dict[str, Any], words: str) -> None:
    """A misspelt gate would never stop anything."""
    with pytest.raises(OptionError) as caught:
        Gates(**asked)
    assert words in str(caught.value)


def test_the_larger_of_both_errors_counts() -> None:
    """That of fp16 and that of the layout, with the layer; other pairs only explain."""
    found = measured(("dtype", 5e-4), ("layout", 3e-4), ("bfloat16", 0.5))
    assert decided(found, max_error=5e-4).message.endswith(
        "The largest error is 5e-4, of fp16 at a.weight."
    )
    stopped = decided(found, max_error=4e-4)
    assert (stopped.gate, stopped.code) == ("max-error=0.0004", "error-too-large")
    assert (
        stopped.message == "--max-error=0.0004, and the largest error is 5e-4, of fp16 at a.weight."
    )
    assert decided(measured(("layout", 6e-4), ("dtype", 5e-4)), max_error=5e-4).passed is False


def test_an_error_that_is_not_finite_is_too_large() -> None:
    """Null says so, unless it passed because there was nothing to compare."""
    assert decided(measured(("dtype", None), passed=False), max_error=1e9).code == "error-too-large"
    assert decided(measured(("dtype", None), passed=True), max_error=0).passed


def test_an_error_that_was_not_measured_stops() -> None:
    """A limit that nothing was measured for is not kept; where nothing was converted, it is."""
    assert decided(measured(("bfloat16", 0.1)), max_error=1).code == "error-not-measured"
    without = report(smoke=None, layers=finite_layers(), verdict="passed", findings=[])
    stopped = decided(without, max_error=1)
    assert stopped.message == ("--max-error=1, and no error was measured for checkpoint_final.pth.")
    layers = [each | {"status": "skipped"} for each in recorded()["layers"]]
    assert decided(without.model_copy(update={"layers": []}), max_error=1).passed
    assert decided(report(smoke=None, layers=layers), max_error=1).passed


def test_each_file_of_a_folder_needs_its_error() -> None:
    """The file with the largest one is named, and so is one that has none."""
    found = recorded()
    section = {name: found[name] for name in ("verdict", "input", "smoke")}
    files = [{**section, "path": path, "role": "checkpoint"} for path in ("a.pt", "b.pt")]
    layers = [{**found["layers"][0], "file": path} for path in ("a.pt", "b.pt")]
    folder = report(smoke=None, files=files, layers=layers, verdict="passed", findings=[])
    assert " in " not in decided(folder, max_error=1).message
    assert decided(folder, max_error=1e-9).message.endswith(("at a.pt.", "at b.pt."))
    for each in found["smoke"]["parity"]:
        each["layer"] = "stem.weight"
    folder = report(smoke=None, files=files, layers=layers, verdict="passed", findings=[])
    assert decided(folder, max_error=1e-9).message.endswith(" at stem.weight in a.pt.")
    files[1]["smoke"] = None
    folder = report(smoke=None, files=files, layers=layers)
    assert decided(folder, max_error=1).message.endswith("no error was measured for b.pt.")


def test_files_are_named_in_the_order_of_the_report() -> None:
    """The same report gives the same message in each run, wherever Python's hashes lie."""
    layer = recorded()["layers"][0]
    paths = [f"{number}.pt" for number in range(9, 0, -1)]
    folder = report(smoke=None, layers=[{**layer, "file": path} for path in paths])
    message = decided(folder, max_error=1).message
    assert message.endswith("for 9.pt, 8.pt, 7.pt, 6.pt, 5.pt and 4 more.")


def test_a_gate_that_has_nothing_to_judge_is_named() -> None:
    """Of an option that was given the message says which it is."""
    with pytest.raises(OptionError, match="--max-error has nothing to judge"):
        Gates(max_error=1).refuse_unmeasured(Options(smoke="none"))


def test_min_speedup_is_judged_as_the_conversion_has() -> None:
    """Missed is a failure; not measured is a finding, which can be named."""
    options = recorded()["options"] | {"min_speedup": 1.2}
    timing = {"contiguous_s": 0.3, "converted_s": 0.2, "speedup": 1.5, "spread": 0.01}
    smoke = recorded()["smoke"] | {"timing": timing | {"representative": True}}
    [_, reached] = judge(report(options=options, smoke=smoke))
    assert reached == Decision("min-speedup=1.2", "passed", "The speed-up is at least 1.2.")
    told = [finding("speedup-missed", "error", "0.9 times as fast.")]
    missed = decided(report(options=options, verdict="failed", findings=told))
    assert (missed.code, missed.message) == ("verification-failed", "0.9 times as fast.")
    told = [finding("speedup-not-measured", "warning", "No speed was measured.")]
    unknown = report(options=options, verdict="passed_with_findings", findings=told)
    assert decided(unknown).message.endswith("No speed was measured.")
    assert decided(unknown).passed
    assert decided(unknown, fail_on="speedup-not-measured").code == "finding-found"


@given(
    reports(), st.sampled_from([None, 0.0, 1e-3, 1.0]), st.lists(st.sampled_from(sorted(FINDINGS)))
)
def test_more_gates_never_let_more_pass(
    found: Report, max_error: float | None, codes: list[str]
) -> None:
    """What stops at some gates stops at those and others; a failed verdict stops at all."""
    alone = decided(found)
    assert alone.passed == (found.verdict != "failed")
    strict = judge(found, Gates(fail_on=("failed", "warning", *codes), max_error=max_error))
    assert alone.passed or not deciding(strict).passed
    assert deciding(strict).passed == all(each.passed for each in strict)


@pytest.mark.parametrize("smoke", [None, recorded()["smoke"] | {"timing": None}])
def test_a_speed_that_nobody_measured_is_not_called_reached(smoke: dict[str, Any] | None) -> None:
    """The gate has nothing to judge, as in the report of an inspection."""
    options = recorded()["options"] | {"min_speedup": 1.5}
    [_, unknown] = judge(report(options=options, smoke=smoke))
    assert unknown == Decision(
        "min-speedup=1.5", "passed", "No speed was measured.", is_skipped=True
    )


def test_values_that_are_not_finite_stop_at_max_error() -> None:
    """Though no error shows them, since fp32 gives them too; by the layer, or by the model."""
    layers = finite_layers()
    layer = next(each for each in layers if each["status"] == "converted")
    layer["smoke"]["finite"] = False
    for status, code in (("converted", "error-too-large"), ("kept", "passed")):
        layer["status"] = status
        stopped = decided(report(layers=layers), max_error=10)
        assert stopped.code == code
        assert stopped.passed or stopped.message == (
            f"--max-error=10, and values are not finite at {layer['name']}."
        )
    last = {"module": "a", "kind": "Conv3d", "absmax": None, "headroom": None}
    smoke = recorded()["smoke"] | {"activations": [last | {"overflow": 0, "underflow_share": 0}]}
    model = report(smoke=smoke, layers=finite_layers())
    assert decided(model, max_error=10).message.endswith("not finite at checkpoint_final.pth.")


def test_reasons_are_short_whatever_a_name_is() -> None:
    """A pipeline shows them in one line; both ends of a long message stay."""
    told = [finding("not-finite", "error", f"{'n' * 200_000}: {n} values.") for n in range(9)]
    failed = report(verdict="failed", findings=told)
    found = decided(failed, fail_on="not-finite")
    assert len(found.message.encode()) < 4_000
    assert "0 values." in found.message
    assert found.message.count("And 4 more.") == 1
    layers = [{**recorded()["layers"][0], "file": f"{'n' * 5_000}{n}"} for n in range(9)]
    unmeasured = report(layers=layers, smoke=None)
    assert len(decided(unmeasured, max_error=1).message.encode()) < 2_000
