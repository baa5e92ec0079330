"""Three questions that a person has, each answered in a sentence or two."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from convlast.report.rendering import claims, notation, summary
from convlast.report.rendering.summary import State
from convlast.report.sections import ReportData, Smoke, Timing


@dataclass(frozen=True)
class Answer:
    """A question, its answer, and how good that is."""

    question: str
    state: State
    text: str


def of_report(report: ReportData) -> list[Answer]:
    """Answer whether the result is right, whether it pays, and what there is to do."""
    return [
        Answer("Is it right?", *_right(report)),
        Answer("Does it pay?", *_pays(report)),
        Answer("What must I do?", *_to_do(report)),
    ]


def _right(report: ReportData) -> tuple[State, str]:
    if report.verdict == "failed":
        errors = [found for found in report.findings if found.severity == "error"]
        return (
            "bad",
            f"No. {summary.in_words(summary.group_findings(errors)[0])}" if errors else "No.",
        )
    if report.proof is None:
        return "unknown", "Nothing was converted yet. This report says what the file holds."
    values, _, smoke, _ = claims.of_report(report)
    if values.state == "bad":
        return "bad", "No. The written file differs from the input."
    number = notation.count(report.proof.tensors, "tensor")
    compared = f"{number} came back from the written file as they should"
    if smoke.state == "good":
        return "good", f"Yes. {compared}, and fp16 gives the same results within its precision."
    if smoke.state == "unknown":
        return "good", f"Yes. {compared}. Nothing was run in fp16."
    return (
        "caution",
        f"The file is: {compared}. In fp16 the model has problems of its own, see below.",
    )


def _pays(report: ReportData) -> tuple[State, str]:
    measured = [timing for timing in _timings(report) if timing.representative]
    if not measured:
        if any(_timings(report)):
            return "unknown", "Not known. A CPU ran it, which says nothing about a GPU."
        return "unknown", "Not known. No time was measured."
    where = report.environment.gpu or report.environment.device
    slowest, fastest = (end(measured, key=lambda each: each.speedup) for end in (min, max))
    if len(measured) > 1:
        times = f"{slowest.speedup:.2f} to {fastest.speedup:.2f} times"
        return summary.state_of(slowest), f"The files run {times} as fast on {where}."
    said = {"good": "Yes", "caution": "No"}.get(summary.state_of(fastest), "Hardly")
    text = (
        f"{said}. It runs {fastest.speedup:.2f} times as fast on {where}: "
        f"{notation.duration(fastest.converted_s)} instead of "
        f"{notation.duration(fastest.contiguous_s)}."
    )
    return summary.state_of(fastest), text


def _timings(report: ReportData) -> Iterator[Timing]:
    smokes: list[Smoke | None] = [report.smoke, *(section.smoke for section in report.files)]
    for smoke in smokes:
        if smoke and smoke.timing:
            yield smoke.timing


def _to_do(report: ReportData) -> tuple[State, str]:
    warnings = sum(found.severity == "warning" for found in report.findings)
    named = "warning" if warnings == 1 else notation.count(warnings, "warning")
    read = f" Read the {named} below first." if warnings else ""
    if report.verdict == "failed":
        kept = "Keep your file." if report.artifact else "Keep your file: nothing was written."
        return "bad", f"{kept} The findings below say what to change."
    if report.artifact is None:
        return _to_do_after_inspection(report)
    if report.artifact.unchanged:
        return "good", f"Nothing. The layout was right already.{read}"
    if report.advice is None:
        return "unknown", f"Load the converted file with its layout.{read}"
    states: dict[str, State] = {"convert": "good", "convert_some": "good", "keep": "caution"}
    state = "caution" if warnings else states.get(report.advice.decision, "unknown")
    return state, f"{summary.DECISIONS[report.advice.decision]}{read}"


def _to_do_after_inspection(report: ReportData) -> tuple[State, str]:
    convertible = summary.count_statuses(report.layers).get("convertible", 0)
    if convertible:
        number = notation.count(convertible, "layer")
        return "good", f"Convert the file: the layout of {number} would change."
    if report.proof is not None:
        return "unknown", "Nothing was written."
    return "unknown", "Nothing. No layer of this file would change."
