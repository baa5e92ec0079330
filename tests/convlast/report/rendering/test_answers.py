from __future__ import annotations

import pytest

from convlast.report import Report, Timing
from convlast.report.rendering import answers
from tests.convlast.report.rendering import building


def told(report: Report) -> dict[str, tuple[str, str]]:
    """Return the state and the text of each answer, by its question."""
    return {each.question: (each.state, each.text) for each in answers.of_report(report)}


def timed(speedup: float, *, representative: bool = True) -> Report:
    """Return a report in which the converted model was so many times as fast."""
    report = building.recorded()
    assert report.smoke is not None
    timing = Timing(
        contiguous_s=0.012, converted_s=0.012 / speedup, speedup=speedup, spread=0.05,
        representative=representative,
    )  # fmt: skip
    smoke = report.smoke.model_copy(update={"timing": timing})
    return report.model_copy(update={"smoke": smoke})


def test_a_good_report_says_yes() -> None:
    """A conversion that was compared and run says so, and what to do next."""
    report = building.recorded()
    assert report.smoke is not None
    smoke = report.smoke.model_copy(update={"status": "passed", "range": []})
    found = told(report.model_copy(update={"smoke": smoke, "verdict": "passed", "findings": []}))

    assert found["Is it right?"][0] == "good"
    assert found["Is it right?"][1].startswith("Yes. 62 tensors came back")
    assert found["What must I do?"] == ("unknown", "Measure on a GPU before you decide.")


def test_warnings_are_to_be_read_first() -> None:
    """The answer counts the warnings."""
    state, text = told(building.recorded())["What must I do?"]

    assert state == "caution"
    assert text.endswith("Read the 3 warnings below first.")


def test_a_folder_without_layers_has_answers() -> None:
    """Nothing is known of the files then, and the claims are about the whole."""
    report = building.folder().model_copy(update={"layers": []})

    assert told(report)["Is it right?"][0] == "good"


def test_a_failed_report_says_no() -> None:
    """A failed conversion names the first error, and keeps the file."""
    found = told(building.failed())

    assert found["Is it right?"][0] == "bad"
    assert "more than 0.001" in found["Is it right?"][1]
    assert found["What must I do?"][1].startswith("Keep your file: nothing was written.")


@pytest.mark.parametrize(
    ("speedup", "state", "beginning"),
    [
        (1.35, "good", "Yes. It runs 1.35 times as fast on cpu: 8.9 ms instead of 12.0 ms."),
        (1.01, "unknown", "Hardly."),
        (0.8, "caution", "No."),
    ],
)
def test_a_speed_within_its_spread_is_no_gain(speedup: float, state: str, beginning: str) -> None:
    """It pays if it is faster by more than the spread of the measurement."""
    found = told(timed(speedup))["Does it pay?"]

    assert found[0] == state
    assert found[1].startswith(beginning)


def test_a_cpu_says_nothing_about_a_gpu() -> None:
    """A time on a CPU is no answer."""
    state, text = told(timed(2.0, representative=False))["Does it pay?"]

    assert state == "unknown"
    assert "says nothing about a GPU" in text


def test_files_of_a_folder_are_answered_together() -> None:
    """If several files were timed, the slowest decides, and both ends are named."""
    report = building.folder(2)
    for section, speedup in zip(report.files, (1.2, 1.5), strict=False):
        section.smoke = timed(speedup).smoke
    state, text = told(report)["Does it pay?"]

    assert state == "good"
    assert text == "The files run 1.20 to 1.50 times as fast on cpu."


def test_an_inspection_says_what_would_change() -> None:
    """A report that converted nothing counts the layers that would change."""
    report = building.recorded()
    layers = [layer.model_copy(update={"status": "convertible"}) for layer in report.layers]
    absent: dict[str, object] = {
        "artifact": None,
        "proof": None,
        "smoke": None,
        "advice": None,
        "survival": [],
    }
    found = told(report.model_copy(update={**absent, "layers": layers}))

    assert found["Is it right?"][0] == "unknown"
    assert found["What must I do?"] == (
        "good",
        "Convert the file: the layout of 7 layers would change.",
    )
