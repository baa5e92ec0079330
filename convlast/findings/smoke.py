"""The findings about the smoke of a whole model, and about the device that it ran on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from convlast.devices.compatibility import Trouble
from convlast.findings.advice import kept_on_cpu_alone
from convlast.report import Finding
from convlast.report.codes import finding
from convlast.report.listing import listed
from convlast.report.smoke import Choice, Flip, Smoke, has_little_headroom
from convlast.smoke.model.model_judgement import Fault
from convlast.smoke.model.whole import ModelSmoke

_CODES = {
    "layout": "layout-error",
    "batch": "layout-breaks-batches",
    "dtype": "fp16-inaccurate",
    "input": "channels-last-input",
    "reference": "model-raises",
}

_VIEWS = {"aten::view", "aten::_unsafe_view", "aten::view_as"}

MAX_NAMED = 8
"""The most modules that one message names."""

_listed = partial(listed, at_most=MAX_NAMED)


def of_model(found: ModelSmoke) -> Iterator[Finding]:
    """Report what is wrong with the model in fp16, what is to blame, and what to do."""
    for fault in found.faults:
        place = fault.failure.place if fault.failure else None
        yield finding(
            _CODES[fault.blame],
            layer=place.name if place else None,
            message=" ".join([f"{fault.message}.", *_advice_on(fault, found.smoke)]),
        )
    if found.halvings:
        yield finding(
            "smoke-shrunk",
            message=f"Memory ran out, so the model was run on a smaller input: "
            f"{found.smoke.input_shape}.",
        )
    if found.left_out:
        left_out = f"Not run: {', '.join(found.left_out)}"
        yield of_time(left_out, nothing_ran=found.smoke.status == "skipped")
    yield from _of_activations(found.smoke)
    yield from _of_layout(found.smoke)
    if found.smoke.dtype != "float16":
        yield finding(
            "fp16-emulated",
            message="This device has no fast fp16 convolution: convolutions, matrix products, "
            "pooling and norms were computed in float32 from fp16 values and rounded to fp16 "
            "once, as a tensor core does.",
        )


def of_time(left_out: str, *, nothing_ran: bool) -> Finding:
    """Report what there was no time for; it is a warning if nothing was compared at all."""
    return finding(
        "smoke-cut-short",
        severity="warning" if nothing_ran else "info",
        message=f"smoke_seconds ran out. {left_out}. Give more, or a smaller input_shape.",
    )


def of_speed(smoke: Smoke, min_speedup: float | None) -> Iterator[Finding]:
    """Report the measured speed, if it is representative."""
    timing = smoke.timing
    if timing is None or not timing.representative:
        if min_speedup is not None:
            yield finding(
                "speedup-not-measured",
                message=f"min_speedup asks for {min_speedup}, but no speed was measured.",
            )
        return
    measured = f"{timing.speedup:.2f} times as fast (± {timing.spread:.2f})"
    if min_speedup is not None and timing.speedup < min_speedup:
        yield finding(
            "speedup-missed",
            message=f"The converted model is {measured}, but min_speedup asks for {min_speedup}.",
        )
    elif timing.tendency <= 0:
        yield finding(
            "nothing-gained",
            message=f"The converted model is {measured}: nothing is gained on this device.",
        )
    if not timing.stable:
        yield finding(
            "speed-unstable",
            message="The times were not yet stable when the measuring time was up: something else "
            "uses this device, or its clock changes.",
        )
    if not any(found.kernels for found in smoke.dispatch):
        yield finding(
            "kernels-not-seen",
            message=f"Which kernels ran is not known. {smoke.dispatch_reason or ''}".rstrip(),
        )
    slow = {found.layer for found in smoke.dispatch if found.route == "slow"}
    if slow:
        yield finding(
            "slow-convolution",
            message=f"{_listed(sorted(slow))}: PyTorch's slow fallback ran, not cuDNN.",
        )


def of_choice(choice: Choice | None) -> Iterator[Finding]:
    """Report a choice that was made with a smaller input."""
    if choice is not None and choice.halvings:
        yield finding(
            "smoke-shrunk",
            message="Memory ran out, so select=fastest measured a smaller input, halved "
            f"{choice.halvings} times.",
        )


def of_troubles(troubles: Iterable[Trouble]) -> Iterator[Finding]:
    """Report the known troubles with the device and its libraries."""
    for trouble in troubles:
        yield finding(
            trouble.code, " ".join([trouble.message, trouble.cure, *_see(trouble.source)])
        )


def _see(source: str) -> list[str]:
    return [f"See {source}."] if source else []


def of_layers_only(reason: str, *, were_run: bool = True) -> Finding:
    """Report why the layers were run one by one instead of the model, if any were run."""
    done = "Layers were run one by one" if were_run else "Nothing was run"
    return finding("model-not-run", f"{done}: {reason}")


def _advice_on(fault: Fault, smoke: Smoke) -> Iterator[str]:
    """Say what to do about a fault."""
    if fault.blame in {"layout", "batch"}:
        if fault.failure and fault.failure.operator in _VIEWS:
            yield (
                "A view needs the elements in contiguous order, but after a converted "
                "convolution they are channels-last. Write .flatten(1) or .reshape(...) there, "
                "which copy if they must."
            )
        else:
            yield "Keep your file, or convert without that module's weights (select)."
    elif fault.blame == "input":
        yield "With a contiguous input the converted model is right: do not convert the input."
    elif fault.blame == "dtype":
        yield from _advice_on_float16(smoke)


def _advice_on_float16(smoke: Smoke) -> Iterator[str]:
    if smoke.first_wrong:
        first = smoke.first_wrong
        yield f"The first module that goes wrong is {first.module} ({first.kind}): {first.message}."
    kept = smoke.kept_in_float32
    if kept and kept.helps and kept.parity and kept.parity.relative is not None:
        yield (
            f"It is right, to {kept.parity.relative:.2%}, with {_listed(kept.modules)} kept in "
            "float32."
        )
    elif kept:
        yield f"Keeping {_listed(kept.modules)} in float32 does not help."
    bfloat16 = next((parity for parity in smoke.parity if parity.pair == "bfloat16"), None)
    if bfloat16 is not None:
        would = "would work" if bfloat16.passed else "would not work either"
        error = "not finite" if bfloat16.relative is None else f"off by {bfloat16.relative:.2%}"
        yield f"bfloat16 {would}: {error}."


def _of_activations(smoke: Smoke) -> Iterator[Finding]:
    for found in smoke.activations:
        if found.overflow:
            yield finding(
                "fp16-overflow",
                layer=found.module,
                message=f"{found.module} ({found.kind}) gives {found.overflow:,} values beyond "
                "65504, which are infinite in fp16. Keep it, and the modules that take its output, "
                "in float32.",
            )
        elif found.headroom is not None and has_little_headroom(found.headroom):
            yield finding(
                "fp16-little-headroom",
                layer=found.module,
                message=f"{found.module} ({found.kind}) gives values up to {found.absmax:.3g}: "
                f"fp16 can hold only {found.headroom:.1f} times as much.",
            )


def _of_layout(smoke: Smoke) -> Iterator[Finding]:
    for flip in smoke.flips:
        if flip.cause is None and flip.output_memory_format == "contiguous_format":
            yield _breaks_the_chain(flip)
    if kept := kept_on_cpu_alone(smoke):
        yield finding(
            "layout-differs-on-cuda",
            message=f"{_listed(sorted(kept))}: GroupNorm keeps channels-last on this CPU. On CUDA "
            "it gave contiguous tensors until late 2026: expect two permutations for each. See "
            "https://github.com/pytorch/pytorch/issues/111824.",
        )


def _breaks_the_chain(flip: Flip) -> Finding:
    times = "once" if flip.times == 1 else f"{flip.times} times"
    return finding(
        "layout-broken",
        layer=flip.module,
        message=f"{flip.module} ({flip.kind}) takes channels-last and returns contiguous tensors "
        f"({flip.operator}), {times} a forward, {flip.bytes:,} bytes; the next convolution "
        "permutes them back.",
    )
