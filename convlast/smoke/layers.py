"""Each convolution run alone, three times: fp32 as the reference, fp16 contiguous, fp16 converted.

This separates errors of fp16 from errors of the layout: a layer is `inaccurate` if the contiguous
fp16 run is off, and `failed` if the converted run differs from it. A convolution that raises is a
result too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

import torch
from torch import Tensor

from convlast.errors import ConvlastError
from convlast.layout.memory_format import strides_of
from convlast.report import LayerSmoke
from convlast.report.wording import words_of
from convlast.smoke import device_health as health
from convlast.smoke.convolution import (
    Convolution,
    Convolve,
    convolve,
    fits,
    input_shape_of,
    make_input,
)
from convlast.smoke.layer_judgement import Outcome, judge
from convlast.smoke.layout import memory_format_of
from convlast.smoke.out_of_memory import is_out_of_memory, is_refusal, release, runs_on_less
from convlast.smoke.precision import exact_float32, run_in_float16

__all__ = ["Convolution", "Convolve", "convolve", "smoke_layer"]

ATTEMPTS = 3
"""How many input sizes are tried before the smoke gives up."""

_TOO_SMALL = "too small for the kernel"

Run: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""Convolves an input with a weight; all other arguments are bound."""


def smoke_layer(
    convolution: Convolution,
    device: torch.device,
    input_shape: tuple[int, ...] | None = None,
    *,
    convolve: Convolve = convolve,
) -> LayerSmoke:
    """Run one convolution in fp16, contiguous and converted, and judge it.

    The reference is in float32, also for float64 weights: its error is thousands of times smaller
    than that of fp16. If memory runs out, a smaller input is tried, and the reason says so.

    Args:
        convolution: The convolution to run.
        device: Where it runs.
        input_shape: (N, C, D, H, W) of the input; C is replaced by the layer's own number of
            channels. None to choose a shape.
        convolve: Runs the convolution; only tests replace it.

    Raises:
        ConvlastError: If a weight cannot be read.
        DeviceLostError: If the device failed and can no longer be used.
    """
    if 0 in convolution.shape:
        return _skipped("the weight has no elements")
    run = partial(convolve, convolution)
    wanted = shape = input_shape_of(convolution, device, input_shape)
    for _ in range(ATTEMPTS):
        if not fits(convolution, shape):
            return _skipped(f"an input of {shape} is {_TOO_SMALL}")
        try:
            smoke = _smoke(convolution, run, make_input(shape, device))
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
        else:
            return smoke if shape == wanted else _told_of_shrinking(smoke, wanted)
        release(device)
        shape = (1, shape[1], *(max(extent // 2, 1) for extent in shape[2:]))
    return _skipped(f"out-of-memory: an input of {wanted} does not fit, nor do smaller ones")


def is_too_small(smoke: LayerSmoke) -> bool:
    """Return whether a layer was not run because its input was too small."""
    return smoke.status == "skipped" and _TOO_SMALL in (smoke.reason or "")


def _smoke(convolution: Convolution, run: Run, activation: Tensor) -> LayerSmoke:
    weight = convolution.contiguous().detach()
    if not weight.is_floating_point():
        return _skipped(f"a weight of {weight.dtype} is not floating point")
    # For a 1×1×1 kernel `contiguous()` does not change channels-last strides.
    if weight.stride() != strides_of(weight.shape, "contiguous_format"):
        weight = weight.clone(memory_format=torch.contiguous_format)
    reach = [extent + 1 for extent in convolution.reach]
    outcome = partial(_outcome, run=run, activation=activation, reach=reach)
    reference = outcome(_run_in_float32, weight=weight)
    contiguous = outcome(run_in_float16, weight=weight)
    weight = convolution.converted().detach()
    converted = outcome(run_in_float16, weight=weight)
    judgement = judge(reference, contiguous, converted)
    smoke = LayerSmoke(
        status=judgement.status,
        reason=judgement.reason,
        input_shape=list(activation.shape),
        assumed=convolution.assumed,
        parity=judgement.parity,
    )
    if isinstance(converted, Tensor):
        smoke.finite = bool(converted.isfinite().all())
        smoke.output_memory_format = memory_format_of(converted)
    return smoke


def _run_in_float32(run: Run, activation: Tensor, weight: Tensor) -> Tensor:
    with exact_float32():
        return run(activation, weight.to(torch.float32))


def _outcome(
    precision: Callable[[Run, Tensor, Tensor], Tensor],
    *,
    run: Run,
    activation: Tensor,
    weight: Tensor,
    reach: Sequence[int],
) -> Outcome:
    """Run a convolution in a precision; return its output, or why there is none."""
    device = activation.device
    weight = weight.to(device)
    try:
        with torch.no_grad():
            output = precision(run, activation, weight)
        health.wait_for(device)
    except ConvlastError:
        raise
    except Exception as error:
        if is_refusal(error):
            if runs_on_less(lambda part: precision(run, part, weight), activation, reach):
                raise
        elif is_out_of_memory(error):
            raise
        health.require_alive(device)
        return words_of(error)
    return output


def _skipped(reason: str) -> LayerSmoke:
    return LayerSmoke(status="skipped", reason=reason)


def _told_of_shrinking(smoke: LayerSmoke, wanted: tuple[int, ...]) -> LayerSmoke:
    note = f"memory ran out with an input of {wanted}"
    smoke.reason = note if smoke.reason is None else f"{smoke.reason}; {note}"
    return smoke
