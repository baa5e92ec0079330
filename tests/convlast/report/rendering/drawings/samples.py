"""Reports with something to draw."""

from __future__ import annotations

from convlast.report import Report
from convlast.report.sections import Survival
from convlast.report.smoke import (
    Activation,
    Choice,
    Flip,
    Magnitudes,
    Permutations,
    Range,
    Smoke,
    Timing,
    TraceStep,
)
from tests.convlast.report.rendering import building

LAST, FIRST, FLAT = "channels_last_3d", "contiguous_format", "4d"
HOSTILE = """</title></svg><script>alert(1)</script>'"&\u202e\x00"""


def smoke_with(**fields: object) -> Smoke:
    """Return a smoke with these fields."""
    known = {"scope": "model", "dtype": "float16", "device": "cuda:0", "status": "passed"}
    return Smoke.model_validate({**known, **fields})


def step(module: str, before: str, after: str, kind: str = "Conv3d") -> TraceStep:
    """Return one step of the chain, which permutes if both are layouts of 5-D tensors."""
    permutes = before != after and FLAT not in (before, after)
    return TraceStep(
        module=module, kind=kind, input_memory_format=before, output_memory_format=after,
        permutes=permutes,
    )  # fmt: skip


def agreeing(number: int, name: str = "layer", layout: str = LAST) -> list[TraceStep]:
    """Return modules that keep one layout."""
    return [step(f"{name}.{index}", layout, layout, "BatchNorm3d") for index in range(number)]


def chain_smoke(name: str = "pool") -> Smoke:
    """Return a model whose layout is broken twice, and which ends in 4-D.

    Args:
        name: The module that breaks the layout.
    """
    trace = [
        step("stem", FIRST, LAST),
        *agreeing(57, "encoder"),
        step(name, LAST, FIRST, "AvgPool3d"),
        step("back", FIRST, LAST),
        *agreeing(8, "decoder"),
        step("to_frames", LAST, FLAT, "Flatten"),
        *agreeing(3, "frames", FLAT),
    ]
    flips = [
        Flip(module=name, kind="AvgPool3d", operator="aten::avg_pool3d", bytes=16_777_216,
             input_memory_format=LAST, output_memory_format=FIRST),
        Flip(module="back", kind="Conv3d", operator="aten::convolution", bytes=2_097_152,
             input_memory_format=FIRST, output_memory_format=LAST, cause=name, seconds=0.00012),
    ]  # fmt: skip
    permutations = Permutations(number=3, bytes=19_922_944, best_number=1, best_bytes=1_048_576)
    return smoke_with(trace=trace, flips=flips, permutations=permutations)


def range_smoke(number: int = 6, name: str = "norm.running_var") -> Smoke:
    """Return a smoke with tensors and activations, the first of each beyond fp16's range.

    Args:
        number: Tensors, and as many activations.
        name: The name of the tensor that overflows.
    """
    beyond = Range(name=name, absmax=4.1e6, absmin=0.3, numel=64, overflow=11, underflow=0,
                   headroom=0.016)  # fmt: skip
    vanishing = Range(name="tiny.weight", absmax=2e-6, absmin=1e-9, numel=99, overflow=0,
                      underflow=40, headroom=3e10, underflow_share=0.4)  # fmt: skip
    magnitudes = [Magnitudes(name=each.name, absmax=each.absmax, absmin=each.absmin)
                  for each in (beyond, vanishing)]  # fmt: skip
    magnitudes += [
        Magnitudes(name=f"stages.{index}.conv.weight", absmax=2.0 / (index + 1), absmin=1e-7)
        for index in range(number - 3)
    ]
    magnitudes.append(Magnitudes(name="bias", absmax=0.0, absmin=None))
    activations = [
        Activation(module=f"stages.{index}", kind="Conv3d", absmax=10.0 ** (index % 7),
                   absmin=10.0**-(index % 9), headroom=65504 / 10.0 ** (index % 7),
                   overflow=int(index % 7 > 4), underflow_share=0.0, relative=1e-3)
        for index in range(number)
    ]  # fmt: skip
    return smoke_with(range=[beyond, vanishing], magnitudes=magnitudes, activations=activations)


def timing(**fields: object) -> Timing:
    """Return one timing on a GPU."""
    known = {
        "contiguous_s": 0.0203, "converted_s": 0.0098, "speedup": 2.07, "spread": 0.11,
        "representative": True, "input_shape": [2, 1, 64, 64, 64], "rounds": 40,
        "cudnn_benchmark": False,
    }  # fmt: skip
    return Timing.model_validate({**known, **fields})


def time_smoke(*, representative: bool = True) -> Smoke:
    """Return a smoke with times under four settings, and what `select=fastest` chose."""
    if not representative:
        alone = timing(representative=False, contiguous_s=3.1, converted_s=3.6, speedup=0.86,
                       spread=0.0, autocast=True, cudnn_benchmark=None)  # fmt: skip
        return smoke_with(timings=[alone], timing=alone, device="cpu")
    timings = [
        timing(),
        timing(cudnn_benchmark=True, converted_s=0.0081, speedup=2.51, spread=0.3),
        timing(input_shape=[1, 1, 64, 64, 64], contiguous_s=0.0112, converted_s=0.0127,
               speedup=0.88, spread=0.05, stable=False),
        timing(autocast=True, contiguous_s=0.0251, converted_s=0.0136, speedup=1.85),
    ]  # fmt: skip
    choice = Choice(chosen="some", layers=["stem.weight"], speedup=2.3, spread=0.08,
                    seconds={"none": 0.0201, "all": 0.0099, "some": 0.0087})  # fmt: skip
    return smoke_with(timings=timings, timing=timings[0], choice=choice)


def whole_smoke(name: str = "pool", number: int = 8) -> Smoke:
    """Return a smoke with something for every picture, measured on a GPU.

    Args:
        name: The module that breaks the layout, and the tensor that overflows.
        number: Tensors, and as many activations.
    """
    fields: dict[str, object] = {}
    for part in (chain_smoke(name), range_smoke(number, name), time_smoke()):
        fields |= {field: getattr(part, field) for field in part.model_fields_set}
    return Smoke.model_validate(fields)


def restless_smoke(number: int = 100) -> Smoke:
    """Return a smoke whose every module changes the layout, timed on a CPU.

    Args:
        number: Modules.
    """
    trace = [
        step(f"blocks.{index}.norm" if index % 2 else f"blocks.{index}.convolution",
             *((LAST, FIRST) if index % 2 else (FIRST, LAST)))
        for index in range(number)
    ]  # fmt: skip
    timed = time_smoke(representative=False)
    return smoke_with(trace=trace, timings=timed.timings, magnitudes=range_smoke(500).magnitudes)


def report_with(smoke: Smoke) -> Report:
    """Return a report with this smoke, and with ways of loading of every result."""
    ways = [
        Survival(route=f"way_{index}(path)", survives=survives, always_lost=always, message="Why.")
        for index, (survives, always) in enumerate(
            [(True, False), (False, True), (False, False), (None, False)]
        )
    ]
    return building.recorded().model_copy(update={"smoke": smoke, "survival": ways})
