"""The findings about the plan, the comparison and the smoke.

The codes are permanent names; the severity decides the verdict.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from convlast.checkpoints.checkpoint import WHY_LEFT_OUT
from convlast.checkpoints.tree import Entry, dotted
from convlast.containers import Container
from convlast.options import Dtype
from convlast.planning.casting import Casts, Obstacle
from convlast.planning.optimizers import is_moment
from convlast.planning.plan import Plan
from convlast.proving.comparison import Comparison
from convlast.proving.program_runs import ScriptTrial
from convlast.report import Finding, LayerSmoke, Range, Severity
from convlast.report.codes import finding
from convlast.report.listing import listed
from convlast.report.smoke import UNDERFLOW_SHARE

_SKIPPED = {
    "weight-norm": "its weight is recomputed in every forward, in contiguous layout. Remove the "
    "weight norm (torch.nn.utils.remove_weight_norm or remove_parametrizations), save, convert",
    "parametrized": "its weight is recomputed in every forward, in contiguous layout. Use "
    "torch.nn.utils.parametrize.remove_parametrizations, save, convert",
    "reparametrized": "its weight is recomputed in every forward, in contiguous layout. Remove "
    "the spectral norm (torch.nn.utils.remove_spectral_norm), save, convert",
    "pruned": "its weight is recomputed from a mask in every forward, in contiguous layout. Make "
    "the pruning permanent (torch.nn.utils.prune.remove(module, 'weight')), save, convert",
    "implausible-kernel": "a Conv3d has no such kernel. It seems to be the weight of a sparse "
    "convolution (spconv), whose axes have another order and must stay contiguous",
    "shared-storage": "another tensor, of other shape or strides, uses some of the same bytes. "
    "Clone the weight before saving",
    "not-dense": "its elements do not fill the bytes they span. Call .contiguous() before saving",
    "quantized": "it is quantized",
    "no-data": "it is on the meta device, and so has no data",
}
"""Why a weight is skipped, and what to do about it."""

_NOT_CAST: Mapping[Obstacle, str] = {
    "used-elsewhere": "something outside the state dict uses the same bytes. Save the state dict "
    "alone",
    "several-dtypes": "tensors of several dtypes use the same bytes. Clone them before saving",
    "negated": "values are negated when they are read. Call .resolve_neg() before saving",
}
"""Why tensors are not cast to fp16, and what to do about it."""

_MAX_NAMED = 3
"""The most tensors that a finding names."""


def of_plan(plan: Plan) -> Iterator[Finding]:
    """Report the weights that are not converted, and why."""
    for decision in plan.decisions:
        if decision.status == "skipped" and decision.reason:
            yield finding(
                decision.reason,
                layer=decision.name,
                message=f"{decision.name} is skipped: {_SKIPPED[decision.reason]}.",
            )
    yield from map(_left_alone, plan.others)
    unknown = [decision.name for decision in plan.decisions if decision.candidate.kind == "unknown"]
    if unknown:
        yield finding(
            "kind-assumed",
            message=f"{len(unknown)} of {len(plan.decisions)} weights may be a Conv3d's or a "
            "ConvTranspose3d's: the file does not say. Both are converted alike.",
        )


def of_left_out(names: Collection[str]) -> Iterator[Finding]:
    """Report the tensors of a program that were not read, and so neither converted nor counted."""
    if names:
        yield finding(
            "tensors-left-out",
            message="The program has tensors that are not read, and stay as they are, byte for "
            f"byte: {listed(sorted(names), at_most=_MAX_NAMED)}. {WHY_LEFT_OUT}",
        )


def of_script(trial: ScriptTrial, plan: Plan, *, was_run: bool) -> Iterator[Finding]:
    """Report whether a converted TorchScript program is broken, or may be.

    Args:
        trial: Its runs before and after.
        plan: What was done to it.
        was_run: Whether the smoke has run the converted program.
    """
    if trial.difference is not None:
        yield finding(
            "program-broken",
            message="The converted program does not do what the original does: "
            f"{trial.difference}.",
        )
    elif trial.calls_view and plan.memory_format == "channels_last_3d" and not was_run:
        yield finding(
            "view-in-program",
            message="The program's code calls torch.view, which raises on channels-last tensors; "
            "on a CPU a small single sample passes, since its convolutions lose the layout. Give "
            "input_shape=N,C,D,H,W, with N at least 2, to have the program run before and after.",
        )


def of_comparison(comparison: Comparison) -> Iterator[Finding]:
    """Report the differences that the proof found."""
    codes = {
        "values": "values-changed",
        "structure": "structure-changed",
        "strides": "strides-wrong",
    }
    for difference in comparison.differences:
        yield finding(
            codes[difference.aspect],
            layer=difference.path or None,
            message=f"{difference.path or 'The checkpoint'}: {difference.message}",
        )


def of_smokes(smokes: Mapping[str, LayerSmoke], dtype: str) -> Iterator[Finding]:
    """Report the layers that failed in the smoke, and whether fp16 or the layout is to blame."""
    codes = {
        "failed": "layout-error",
        "inaccurate": "fp16-inaccurate",
        "skipped": "smoke-skipped",
    }
    for name, smoke in smokes.items():
        if smoke.status in codes:
            yield finding(codes[smoke.status], f"{name}: {smoke.reason}.", layer=name)
    if smokes and dtype != "float16":
        yield finding(
            "fp16-emulated",
            message="This device has no fast fp16 convolution: operands and results were rounded "
            "to fp16, and sums kept in float32, as a tensor core does.",
        )


def of_ranges(ranges: Iterable[Range], dtype: Dtype) -> Iterator[Finding]:
    """Report the tensors that do not fit into fp16; `dtype` is what the artifact was cast to."""
    for found in ranges:
        if found.overflow:
            yield _range_finding(
                "fp16-overflow",
                found,
                f"{found.overflow:,} of {found.numel:,} values are beyond 65504 and become "
                "infinite in fp16"
                + (". Keep it in float32" if dtype == "keep" else ", as in the artifact"),
            )
        if found.underflow_share > UNDERFLOW_SHARE or (found.underflow and dtype != "keep"):
            share = found.underflow_share
            yield _range_finding(
                "fp16-underflow",
                found,
                f"{found.underflow:,} of {found.numel:,} values ({share:.1%}) become zero in fp16",
                severity="warning" if share > UNDERFLOW_SHARE else "info",
            )
        if found.nonfinite:
            yield _range_finding(
                "not-finite",
                found,
                f"{found.nonfinite:,} of {found.numel:,} values are NaN or infinite already",
            )


def of_casts(casts: Casts) -> Iterator[Finding]:
    """Report the tensors of the state dicts that could not be cast to fp16."""
    for obstacle, paths in casts.kept.items():
        named = listed([dotted(path) for path in paths], at_most=_MAX_NAMED)
        yield finding(
            "not-cast",
            message=f"Not cast to fp16: {named}: {_NOT_CAST[obstacle]}.",
        )


def of_dropped(records: Sequence[str], container: Container) -> Iterator[Finding]:
    """Report the records of the input that the artifact's container cannot hold."""
    if records:
        yield finding(
            "records-dropped",
            message=f"{container.name} holds tensors and short texts only. Not in the artifact: "
            f"{listed(records, at_most=_MAX_NAMED)}. Use container=torch to keep them.",
        )


def of_result(plan: Plan, container: Container, *, unchanged: bool) -> Iterator[Finding]:
    """Report what else to know about the artifact."""
    if not container.holds_strides and plan.memory_format == "channels_last_3d":
        yield finding(
            "layout-in-manifest",
            message=f"{container.name} cannot store strides: the bytes are contiguous, and the "
            "layout is in the metadata, where convlast.load and convlast.load_into apply it.",
        )
    if unchanged:
        yield finding(
            "nothing-to-change",
            message="No stride had to change: the artifact is the input, byte for byte.",
        )


def _left_alone(entry: Entry) -> Finding:
    """Report a 5-D tensor that is no convolution weight."""
    name = dotted(entry.path)
    if is_moment(entry.path):
        code, why = "optimizer-moment", "it is part of an optimizer's state"
    else:
        code, why = "not-a-convolution-weight", "its key is not that of a convolution weight"
    return finding(code, f"{name} is 5-D and left alone: {why}.", layer=name)


def nothing_to_change() -> Finding:
    """Say that nothing was written, since nothing would change."""
    return finding("nothing-to-change", "No stride has to change, so nothing was written.")


def _range_finding(code: str, found: Range, text: str, severity: Severity | None = None) -> Finding:
    return finding(code, f"{found.name}: {text}.", layer=found.name, severity=severity)
