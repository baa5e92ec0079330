"""Remedies for a model that fp16 breaks: keep modules in fp32, or use bfloat16.

The layout of such a model is checked in fp32, because its fp16 runs say nothing about it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from convlast.report import Parity
from convlast.report.smoke import KeptInFloat32
from convlast.smoke.model.events import Failure
from convlast.smoke.model.model_judgement import (
    FLOAT32_LAYOUT_THRESHOLD,
    Fault,
    compare_layouts,
    located,
    words,
)
from convlast.smoke.model.outputs import Outputs, parity_of
from convlast.smoke.model.readings import Readings, first_wrong, pairs_of
from convlast.smoke.model.specimen import Specimen, Way
from convlast.smoke.out_of_memory import is_refusal
from convlast.smoke.parity import DTYPE_THRESHOLD

ATTEMPTS = 3
"""The most reruns, each with one more module in fp32; each costs a forward."""

BFLOAT16_THRESHOLD = 0.05
"""The difference between fp32 and bf16 that passes. bf16 has three bits less than fp16, so each
rounding error is eight times as large, 0.4 % in the median of single convolutions; with more than
5 % at the end of the model, bf16 is no remedy."""


def judge_layout_in_float32(
    specimen: Specimen, reference: Outputs, way: Way
) -> tuple[Parity | None, Fault | None]:
    """Run a fresh specimen converted, in fp32; return its parity with the contiguous run."""
    specimen.lay_out()
    outcome = specimen.run(way)
    if isinstance(outcome, Failure):
        if is_refusal(outcome.message):
            return _judge_layout_in_tf32(specimen, reference, way)
        message = f"In float32 the converted model raises: {located(outcome)}"
        return None, Fault("layout", message, outcome)
    parity = parity_of(
        reference, outcome, pair="layout_float32", threshold=FLOAT32_LAYOUT_THRESHOLD
    )
    if parity.passed:
        return parity, None
    message = f"In float32 the converted model gives other results: {words(parity)}"
    return parity, Fault("layout", message)


def _judge_layout_in_tf32(
    specimen: Specimen, reference: Outputs, way: Way
) -> tuple[Parity | None, Fault | None]:
    """Compare both layouts in TF32, if cuDNN has no channels-last kernel for exact fp32.

    A missing fp32 kernel is not a fault of the layout, which is meant for fp16. If there is no
    kernel for TF32 either, there is nothing to compare.
    """
    way = replace(way, is_tf32=True)
    converted = specimen.run(way)
    if isinstance(converted, Failure) and is_refusal(converted.message):
        return None, None
    specimen.lay_out(())
    contiguous = specimen.run(way)
    if isinstance(contiguous, Failure):
        return None, None
    dtype = parity_of(reference, contiguous, pair="tf32", threshold=DTYPE_THRESHOLD)
    parity, wrong = compare_layouts(contiguous, converted, dtype, "layout_float32")
    if wrong is None:
        return parity, None
    failure = converted if isinstance(converted, Failure) else None
    return parity, Fault("layout", f"In TF32 the converted model {wrong}", failure)


def try_bfloat16(specimen: Specimen, reference: Outputs, way: Way) -> Parity | None:
    """Run a fresh specimen in bf16; return its parity with fp32, or None if it raises."""
    specimen.cast(torch.bfloat16)
    outcome = specimen.run(way)
    if isinstance(outcome, Failure):
        return None
    return parity_of(reference, outcome, pair="bfloat16", threshold=BFLOAT16_THRESHOLD)


def try_float32(
    specimen: Specimen, reference: Outputs, readings: Readings, wrong: Sequence[str], way: Way
) -> KeptInFloat32:
    """Find modules that have to stay in fp32, and prove that this helps.

    Modules whose parameters, inputs or outputs exceed fp16's range are kept in fp32; if there are
    none, the first module that goes wrong. While the model is still wrong, the next wrong module is
    added.

    Args:
        specimen: A fresh specimen, which cannot be used afterwards.
        reference: The outputs in fp32.
        readings: Each module's reading in fp32.
        wrong: The modules that go wrong in fp16, in the order of execution.
        way: How to run the model.
    """
    kept = list(dict.fromkeys([*_beyond_range(specimen.module), *_overflowing(readings)]))
    kept = kept or list(wrong[:1])
    exact = {
        name: {key: value.clone() for key, value in module.state_dict().items()}
        for name, module in specimen.module.named_modules()
        if not list(module.children())
    }
    specimen.cast(torch.float16)
    parity: Parity | None = None
    for _ in range(ATTEMPTS):
        seen = Readings()
        with _in_float32(specimen.module, kept, exact, readings):
            outcome = specimen.run(replace(way, on_turn=seen.note))
        if isinstance(outcome, Failure):
            return KeptInFloat32(modules=kept, parity=None, helps=False)
        parity = parity_of(reference, outcome, pair="kept_in_float32", threshold=DTYPE_THRESHOLD)
        if parity.passed:
            break
        next_wrong = first_wrong(list(pairs_of(readings, seen)), DTYPE_THRESHOLD)
        if next_wrong is None or next_wrong.reference.place.name in kept:
            break
        kept.append(next_wrong.reference.place.name)
    return KeptInFloat32(
        modules=kept, parity=parity, helps=parity is not None and parity.passed is True
    )


def _beyond_range(module: nn.Module) -> Iterator[str]:
    """Yield the modules with parameters or buffers that fp16 cannot hold."""
    for name, part in module.named_modules():
        own = [*part.parameters(recurse=False), *part.buffers(recurse=False)]
        if name and any(_overflows(tensor) for tensor in own):
            yield name


def _overflows(tensor: Tensor) -> bool:
    if not tensor.is_floating_point() or not tensor.numel():
        return False
    finite = tensor.isfinite()
    return bool((finite & ~tensor.to(torch.float16).isfinite()).any())


def _overflowing(readings: Readings) -> Iterator[str]:
    """Yield the modules whose outputs exceed fp16's range, and the module after each of them."""
    is_beyond = False
    for reading in readings.taken:
        if is_beyond or not reading.fits:
            yield reading.place.name
        is_beyond = not reading.fits


@contextmanager
def _in_float32(
    module: nn.Module, names: Iterable[str], exact: dict[str, dict[str, Any]], readings: Readings
) -> Iterator[None]:
    """Run some modules in fp32: cast their inputs to fp32, and their outputs back if they fit."""
    too_large = {reading.place.name for reading in readings.taken if not reading.fits}
    modules = dict(module.named_modules())
    hooks = []
    for name in names:
        part = modules[name].float()
        for inner, values in exact.items():
            if inner == name or inner.startswith(f"{name}."):
                _restore(modules[inner], values)
        hooks.append(part.register_forward_pre_hook(_widen, with_kwargs=True))
        if name not in too_large:
            hooks.append(part.register_forward_hook(_narrow))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _restore(module: nn.Module, values: dict[str, Any]) -> None:
    held = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    for key, value in values.items():
        if key in held:
            held[key].data = value.to(held[key].device)


def _widen(_module: object, args: Any, kwargs: Any) -> Any:
    return tree_map_only(Tensor, _to_float32, (args, kwargs))


def _to_float32(tensor: Tensor) -> Tensor:
    return tensor.to(torch.float32) if tensor.dtype == torch.float16 else tensor


def _narrow(_module: object, _args: object, result: Any) -> Any:
    return tree_map_only(
        Tensor,
        lambda tensor: tensor.to(torch.float16) if tensor.dtype == torch.float32 else tensor,
        result,
    )
