"""Decides by a report whether a pipeline goes on: by its verdict, and by what else was asked for.

A gate decides when all is done: an artifact that it stops at is kept. Only a verdict of `failed`
leaves no artifact, unless `on_failure=report` was asked for.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator

from convlast.errors import OptionError, VerificationError
from convlast.options import Options
from convlast.options.asked import Asked
from convlast.report.codes import FINDINGS
from convlast.report.listing import in_short, listed
from convlast.report.rendering import notation
from convlast.report.sections import Parity, ReportData
from convlast.report.smoke import Smoke

PASSED: Literal["passed"] = "passed"
WARNED, FOUND = "warnings-found", "finding-found"
TOO_FAR, UNMEASURED = "error-too-large", "error-not-measured"

FAILED, WARNING = "failed", "warning"
"""What `fail_on` names beside the codes of findings."""

ERRORS = {"dtype": "fp16", "layout": "the layout"}
"""The errors that `max_error` is about, those that each report states: fp16 against fp32, and fp16
with converted weights against fp16 with contiguous ones."""

_HAS_LAYOUT = {"converted", "already"}
_MAX_NAMED, _MAX_NAME_BYTES = 5, 300


def _split(value: object) -> object:
    return tuple(filter(None, value.split(","))) if isinstance(value, str) else value


class Gates(Asked):
    """What a report is judged by, beside its verdict."""

    fail_on: Annotated[tuple[str, ...], BeforeValidator(_split)] = (FAILED,)
    """When to end with status 1: if the verdict is `failed`, as always; also if there is a
    `warning`; or a finding with this code, of any severity. The artifact is kept then;
    `--on-failure` is about the verdict `failed` alone."""

    max_error: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """End with status 1 if the fp16 test run shows a larger error than this, of fp16 or of the
    layout, relative to the largest value; or if no error was measured. The artifact is kept."""

    @field_validator("fail_on")
    @classmethod
    def _are_known(cls, fail_on: tuple[str, ...]) -> tuple[str, ...]:
        known = [FAILED, WARNING, *FINDINGS]
        for name in fail_on:
            if name not in known:
                near = map(repr, get_close_matches(name[:64], known))
                meant = " or ".join(near) or "one of docs/reference/findings.md"
                raise ValueError(f"there is no finding {name[:64]!r}; it may be {meant}")
        return fail_on

    def refuse_unmeasured(self, options: Options) -> None:
        """Refuse a gate that a conversion with these options cannot pass.

        Raises:
            OptionError: If it measures no error, and one is judged.
        """
        if self.max_error is not None and options.smoke == "none":
            raise OptionError(
                "max_error",
                "--max-error has nothing to judge: smoke=none measures no error.",
                remedy="Leave one of both out.",
            )


@dataclass(frozen=True)
class Decision:
    """What a gate says of a report.

    Attributes:
        gate: The gate: `verdict`, or an option with its value, such as `max-error=0.001`.
        code: `passed`, or a permanent name for why it does not pass.
        message: Why, as a sentence.
        is_skipped: Whether there was nothing to judge, so that it lets the report pass.
    """

    gate: str
    code: str
    message: str
    is_skipped: bool = False

    @property
    def passed(self) -> bool:
        """Whether the gate lets the report pass."""
        return self.code == PASSED


def judge(report: ReportData, gates: Gates | None = None) -> list[Decision]:
    """Return what each gate says of a report: first the verdict, which always counts.

    The option `min_speedup` is a gate too, one that the conversion has judged itself.

    Args:
        report: The report.
        gates: What it is judged by; by default the verdict alone.
    """
    gates = gates or Gates()
    found = [_of_verdict(report)]
    found += [_of_findings(report, each) for each in gates.fail_on if each != FAILED]
    if gates.max_error is not None:
        found.append(_of_errors(report, gates.max_error))
    if report.options.min_speedup is not None:
        found.append(_of_speed(report, report.options.min_speedup))
    return found


def deciding(decisions: list[Decision]) -> Decision:
    """Return the decision for the whole: what does not pass, or else what all of them say."""
    decide = [each for each in decisions if not each.passed] or decisions
    messages = dict.fromkeys(each.message for each in decide)
    return Decision(decide[0].gate, decide[0].code, " ".join(messages))


def _of_verdict(report: ReportData) -> Decision:
    if report.verdict == "failed":
        errors = [found.message for found in report.findings if found.severity == "error"]
        message = in_short(errors) or "The verdict is failed."
        return Decision("verdict", VerificationError.code, message)
    warnings = _warnings_of(report)
    said = f"The verdict is {report.verdict}{f': {warnings}' if warnings else ''}."
    return Decision("verdict", PASSED, said)


def _of_findings(report: ReportData, name: str) -> Decision:
    gate = f"fail-on={name}"
    if name == WARNING:
        if warnings := _warnings_of(report):
            message = f"--{gate}, and the report has warnings: {warnings}."
            return Decision(gate, WARNED, message)
        return Decision(gate, PASSED, "There is no warning.")
    found = [each for each in report.findings if each.code == name]
    if not found:
        return Decision(gate, PASSED, f"There is no {name}.")
    times = f" {len(found):,} times, first" if len(found) > 1 else ""
    first = in_short([found[0].message])
    return Decision(gate, FOUND, f"--{gate}, and the report has it{times}: {first}")


def _warnings_of(report: ReportData) -> str:
    """Name the warnings by their codes, with how many of each there are."""
    counts = Counter(found.code for found in report.findings if found.severity == "warning")
    return ", ".join(f"{code} ({n:,})" if n > 1 else code for code, n in counts.items())


def _of_errors(report: ReportData, most: float) -> Decision:
    gate = f"max-error={most:g}"
    if spoilt := [*_not_finite(report)]:
        names = _named(spoilt)
        return Decision(gate, TOO_FAR, f"--{gate}, and values are not finite at {names}.")
    measured: list[tuple[str | None, Parity]] = []
    unmeasured: list[str] = []
    for path, smoke in _converted(report):
        errors = [each for each in smoke.parity if each.pair in ERRORS] if smoke else []
        measured += [(path, each) for each in errors]
        if not errors:
            unmeasured.append(path or report.input.filename)
    if unmeasured:
        names = _named(unmeasured)
        return Decision(gate, UNMEASURED, f"--{gate}, and no error was measured for {names}.")
    if not measured:
        return Decision(gate, PASSED, "No layer was converted, so there is no error.")
    path, worst = max(measured, key=lambda each: _size(each[1]))
    where = [_named([name]) for name in (worst.layer, path) if name]
    place = f" at {' in '.join(where)}" if where else ""
    said = f"error is {notation.magnitude(worst.relative)}, of {ERRORS[worst.pair]}{place}."
    if _size(worst) > most:
        return Decision(gate, TOO_FAR, f"--{gate}, and the largest {said}")
    return Decision(gate, PASSED, f"The largest {said}")


def _not_finite(report: ReportData) -> Iterator[str]:
    """Name the layers and models that give NaN or infinite values, of which there is no error.

    They may do so in fp32 too, since weights are not finite: an error leaves such values out.
    """
    for layer in report.layers:
        if layer.status in _HAS_LAYOUT and layer.smoke and layer.smoke.finite is False:
            yield layer.name if layer.file is None else f"{layer.name} in {layer.file}"
    for path, smoke in _converted(report):
        if smoke and any(each.absmax is None for each in smoke.activations[-1:]):
            yield path or report.input.filename


def _converted(report: ReportData) -> Iterator[tuple[str | None, Smoke | None]]:
    """Yield the smoke of each file in which a layer has the layout, with its path in a folder."""
    files = dict.fromkeys(each.file for each in report.layers if each.status in _HAS_LAYOUT)
    smokes: dict[str | None, Smoke | None] = {each.path: each.smoke for each in report.files}
    for path in files:
        yield path, smokes.get(path, report.smoke)


def _named(names: list[str]) -> str:
    return listed([notation.cut(name, _MAX_NAME_BYTES) for name in names], at_most=_MAX_NAMED)


def _size(parity: Parity) -> float:
    """Return how large an error is; 0 where there was nothing to compare."""
    if parity.relative is None:
        return 0.0 if parity.passed else math.inf
    return parity.relative


def _of_speed(report: ReportData, least: float) -> Decision:
    """Repeat what the conversion has found: a speed that was not measured is no failure there."""
    gate = f"min-speedup={least:g}"
    by_code = {found.code: found.message for found in report.findings}
    if missed := by_code.get("speedup-missed"):
        return Decision(gate, VerificationError.code, missed)
    timings = [smoke.timing for _, smoke in _converted(report) if smoke]
    is_measured = any(timing is not None and timing.representative for timing in timings)
    unknown = by_code.get("speedup-not-measured")
    if unknown or not is_measured:
        return Decision(gate, PASSED, unknown or "No speed was measured.", is_skipped=True)
    return Decision(gate, PASSED, f"The speed-up is at least {least:g}.")
