"""What the runs of a whole model say about it: whether fp16 is at fault, or the layout.

The same two questions as for one convolution (`convlast.smoke.layer_judgement`), with thresholds
that fit a chain of many.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

import torch

from convlast.report import Parity
from convlast.smoke.model.events import Failure
from convlast.smoke.model.outputs import Outputs, parity_of
from convlast.smoke.model.specimen import Outcome
from convlast.smoke.parity import DTYPE_THRESHOLD, LAYOUT_THRESHOLD

ROUNDINGS = 2.0
"""Layout errors of a whole model pass up to this many times fp16's own error there.

Both fp16 runs are off from fp32 by as much as rounding costs this model, in directions of their
own, since they add up in another order: they may be twice as far from each other. A model that
magnifies roundings does so for both. `LAYOUT_THRESHOLD` passes in any case.
"""

FLOAT32_LAYOUT_THRESHOLD = 2.0**-10
"""Of contiguous and converted weights in fp32, relative to the scale of the output.

Asked where fp16 is at fault and its runs tell nothing of the layout. fp32 rounds by 2⁻²⁴: this
leaves room for a model that magnifies that 16,000 times. A layout that is misread is off by much
more than 0.1 %.
"""

Status = Literal["passed", "passed_with_findings", "failed", "skipped"]


@dataclass(frozen=True)
class Fault:
    """Something that is wrong, and whose fault it is.

    Attributes:
        blame: `layout`: the conversion's. `batch`: that too, but not with one sample, which is all
            that was asked for. `dtype`: fp16's own. `input`: only a channels-last input does it.
            `reference`: the model does not run, in fp32 or at all in fp16.
        message: What is wrong.
        failure: Where it raised, if it did.
    """

    blame: Literal["layout", "batch", "dtype", "input", "reference"]
    message: str
    failure: Failure | None = None


@dataclass
class ModelJudgement:
    """The verdict on a model, with the figures it rests on."""

    parity: list[Parity] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


@dataclass
class Runs:
    """The outcomes of all ways of running the model; None where it was not run.

    They have N samples, except those that say otherwise.

    Attributes:
        reference: In fp32, contiguous.
        contiguous: In fp16, contiguous.
        converted: In fp16, with converted weights.
        converted_input: The same with a channels-last input.
        autocast: Under autocast, contiguous.
        autocast_converted: Under autocast, with converted weights.
        contiguous_alone: In fp16, contiguous, with one sample of several.
        converted_alone: The same with converted weights.
        contiguous_two: In fp16, contiguous, with two samples, where N is one.
        converted_two: The same with converted weights.
    """

    reference: Outcome | None = None
    contiguous: Outcome | None = None
    converted: Outcome | None = None
    converted_input: Outcome | None = None
    autocast: Outcome | None = None
    autocast_converted: Outcome | None = None
    contiguous_alone: Outcome | None = None
    converted_alone: Outcome | None = None
    contiguous_two: Outcome | None = None
    converted_two: Outcome | None = None

    @property
    def have_both_layouts(self) -> bool:
        """Whether the model ran in fp16 in both layouts, so that they can be compared."""
        return isinstance(self.contiguous, dict) and isinstance(self.converted, dict)


def judge(runs: Runs, samples: int) -> ModelJudgement:
    """Judge a model by its runs with N samples, and with one or two.

    Args:
        runs: The outcomes.
        samples: N.
    """
    judgement = ModelJudgement()
    reference = runs.reference
    if reference is None:
        return judgement
    if isinstance(reference, Failure):
        message = f"float32 raises: {located(reference)}"
        judgement.faults.append(Fault("reference", message, reference))
        return judgement
    _judge_half(judgement, reference, runs)
    _judge_autocast(judgement, reference, runs)
    several, other = len(judgement.parity), 1 if samples > 1 else 2
    _judge_alone(judgement, runs)
    _judge_two(judgement, runs)
    judgement.parity = [
        parity.model_copy(update={"samples": samples if index < several else other})
        for index, parity in enumerate(judgement.parity)
    ]
    return judgement


def status_of(faults: Iterable[Fault]) -> Status:
    """Draw the verdict from all faults.

    >>> status_of([Fault("dtype", "off by 90%")])
    'passed_with_findings'
    """
    blames = {fault.blame for fault in faults}
    if "layout" in blames:
        return "failed"
    if "reference" in blames:
        return "skipped"
    return "passed_with_findings" if blames else "passed"


def compare_layouts(
    contiguous: Outputs, converted: Outcome, dtype: Parity, pair: str
) -> tuple[Parity | None, str | None]:
    """Compare two layouts in fp16; return the parity and what is wrong with it.

    Args:
        contiguous: The outputs with contiguous weights.
        converted: Those with converted weights.
        dtype: The parity of the contiguous ones with fp32.
        pair: What is compared, for the report.
    """
    if isinstance(converted, Failure):
        return None, f"raises where the contiguous model does not: {located(converted)}"
    if _shapes(contiguous) != _shapes(converted):
        return None, f"gives outputs of other shapes: {_shapes(converted)}"
    threshold = max(LAYOUT_THRESHOLD, ROUNDINGS * (dtype.relative or 0.0))
    if not all(bool(output.isfinite().all()) for output in contiguous.values()):
        # fp16 has broken already; what is finite in both is all that can differ.
        contiguous = {
            name: output.where(converted[name].isfinite(), torch.nan)
            for name, output in contiguous.items()
        }
    parity = parity_of(contiguous, converted, pair=pair, threshold=threshold)
    if parity.passed:
        return parity, None
    if not (dtype.passed or parity.nan or parity.inf):
        # Where fp16 itself is wrong, its runs differ for that reason alone: fp32 decides.
        return parity.model_copy(update={"passed": None}), None
    return parity, f"gives other results: {words(parity)}"


def is_close(contiguous: Outputs, converted: Outputs) -> bool:
    """Say whether two layouts agree beyond doubt."""
    if _shapes(contiguous) != _shapes(converted):
        return False
    parity = parity_of(contiguous, converted, pair="layout", threshold=LAYOUT_THRESHOLD)
    return parity.passed is True


def words(parity: Parity) -> str:
    """Say in words what is wrong with a parity."""
    if parity.nan or parity.inf:
        return f"{parity.nan:,} NaN and {parity.inf:,} infinite values where there should be none"
    if parity.relative is None:
        return "values where there should be zeros only"
    return f"off by {parity.relative:.2%} of the output's scale, and {parity.threshold:.2%} passes"


def located(failure: Failure) -> str:
    """Say where and how a run ended."""
    parts = [failure.message]
    if failure.operator:
        parts.append(f"raised by {failure.operator}")
    if failure.place and failure.place.name != failure.operator:
        parts.append(f"in {failure.place.name} ({failure.place.kind})")
    if failure.line:
        parts.append(f"at {failure.line}")
    return ", ".join(parts)


def distinct(faults: Iterable[Fault]) -> list[Fault]:
    """Return faults without those that have the cause of an earlier one."""
    found: dict[object, Fault] = {}
    for fault in faults:
        failure = fault.failure
        cause = (failure.place, failure.operator, failure.line) if failure else fault.blame
        found.setdefault(cause, fault)
    return list(found.values())


def _judge_half(judgement: ModelJudgement, reference: Outputs, runs: Runs) -> None:
    contiguous = runs.contiguous
    if isinstance(contiguous, Failure):
        message = f"float16 raises, in contiguous format too: {located(contiguous)}"
        judgement.faults.append(Fault("reference", message, contiguous))
    if not isinstance(contiguous, dict):
        return
    dtype = parity_of(reference, contiguous, pair="dtype", threshold=DTYPE_THRESHOLD)
    judgement.parity.append(dtype)
    if not dtype.passed:
        judgement.faults.append(Fault("dtype", f"float16 is at fault: {words(dtype)}"))
    if runs.converted is not None:
        parity, wrong = compare_layouts(contiguous, runs.converted, dtype, "layout")
        _note(
            judgement, parity, wrong, "layout", "The model with converted weights", runs.converted
        )
    if runs.converted_input is not None:
        parity, wrong = compare_layouts(contiguous, runs.converted_input, dtype, "layout_input")
        what = "With a channels-last input the converted model"
        _note(judgement, parity, wrong, "input", what, runs.converted_input)


def _judge_alone(judgement: ModelJudgement, runs: Runs) -> None:
    """Judge the layout with one sample; a layout fault that is not there too has that said."""
    dtype = next((parity for parity in judgement.parity if parity.pair == "dtype"), None)
    contiguous, converted = runs.contiguous_alone, runs.converted_alone
    if dtype is None or converted is None or not isinstance(contiguous, dict):
        return
    alone = ModelJudgement()
    parity, wrong = compare_layouts(contiguous, converted, dtype, "layout")
    _note(alone, parity, wrong, "layout", "With one sample the converted model", converted)
    judgement.parity += alone.parity
    if not alone.faults:
        judgement.faults = [
            replace(fault, message=f"{fault.message} (with one sample it does not)")
            if fault.blame == "layout"
            else fault
            for fault in judgement.faults
        ]
    judgement.faults += alone.faults


def _judge_two(judgement: ModelJudgement, runs: Runs) -> None:
    """Judge the layout with two samples, where one was asked for and the layout is right."""
    dtype = next((parity for parity in judgement.parity if parity.pair == "dtype"), None)
    contiguous, converted = runs.contiguous_two, runs.converted_two
    if dtype is None or converted is None or not isinstance(contiguous, dict):
        return
    parity, wrong = compare_layouts(contiguous, converted, dtype, "layout")
    if any(fault.blame == "layout" for fault in judgement.faults):
        return
    what = "With two samples, but not with one, the converted model"
    _note(judgement, parity, wrong, "batch", what, converted)


def _judge_autocast(judgement: ModelJudgement, reference: Outputs, runs: Runs) -> None:
    if runs.autocast is None:
        return
    if isinstance(runs.autocast, Failure):
        message = f"Under autocast the model raises, contiguous too: {located(runs.autocast)}"
        judgement.faults.append(Fault("dtype", message, runs.autocast))
        return
    dtype = parity_of(reference, runs.autocast, pair="autocast", threshold=DTYPE_THRESHOLD)
    judgement.parity.append(dtype)
    if not dtype.passed:
        judgement.faults.append(Fault("dtype", f"autocast to float16 is at fault: {words(dtype)}"))
    if runs.autocast_converted is not None:
        found = runs.autocast_converted
        parity, wrong = compare_layouts(runs.autocast, found, dtype, "autocast_layout")
        _note(judgement, parity, wrong, "layout", "Under autocast the converted model", found)


def _note(
    judgement: ModelJudgement,
    parity: Parity | None,
    wrong: str | None,
    blame: Literal["layout", "batch", "input"],
    what: str,
    outcome: Outcome,
) -> None:
    if parity is not None:
        judgement.parity.append(parity)
    if wrong is not None:
        failure = outcome if isinstance(outcome, Failure) else None
        judgement.faults.append(Fault(blame, f"{what} {wrong}", failure))


def _shapes(outputs: Outputs) -> dict[str, tuple[int, ...]]:
    return {name: tuple(output.shape) for name, output in outputs.items()}
