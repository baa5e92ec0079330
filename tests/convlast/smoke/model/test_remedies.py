"""If fp16 is at fault, the layout is judged in fp32, or in TF32 if cuDNN has no fp32 kernel."""

from __future__ import annotations

import torch
from torch import Tensor

from convlast.layout.memory_format import strides_of
from convlast.smoke.model.ways import Request
from convlast.smoke.model.whole import ModelSmoke
from tests.convlast.smoke.model.test_planted_faults import SHAPE, Corrupting, LargeVariance
from tests.subjects import Refusing, smoked


def is_channels_last(weight: Tensor) -> bool:
    """Say whether the strides are channels-last."""
    return weight.stride() == strides_of(weight.shape, "channels_last_3d")


def lacks_float32(_activation: Tensor, weight: Tensor) -> bool:
    """Refuse channels-last weights in exact fp32."""
    is_exact = torch.backends.cudnn.conv.fp32_precision == "ieee"  # type: ignore[attr-defined]
    return weight.dtype == torch.float32 and is_channels_last(weight) and is_exact


def lacks_tf32_too(activation: Tensor, weight: Tensor) -> bool:
    """Refuse channels-last weights in fp32, except under emulated fp16."""
    return is_channels_last(weight) and bool((weight.half().float() != weight).any())


class Both(LargeVariance):
    """A model that fp16 breaks, and a layout that is misread."""

    def __init__(self) -> None:
        super().__init__()
        self.second = Corrupting(8, 8, 3, padding=1)


def layouts_of(found: ModelSmoke) -> list[bool | None]:
    """Return whether the layout passed in fp32, as far as it was compared."""
    return [p.passed for p in found.smoke.parity if p.pair == "layout_float32"]


def test_a_kernel_that_does_not_exist_in_float32_is_no_fault_of_the_layout() -> None:
    """If cuDNN has no kernel for fp32, the layouts are compared in TF32."""
    with Refusing(lacks_float32) as cudnn:
        found = smoked(LargeVariance, SHAPE, Request())
    assert cudnn.refused > 0
    assert {fault.blame for fault in found.faults} == {"dtype"}
    assert (found.smoke.status, layouts_of(found)) == ("passed_with_findings", [True])


def test_a_layout_that_is_misread_is_found_in_tf32_as_well() -> None:
    """A difference in TF32 is a fault, and the message names TF32."""
    with Refusing(lacks_float32):
        found = smoked(Both, SHAPE)
    assert found.smoke.status == "failed"
    assert any(f.message.startswith("In TF32 the converted model") for f in found.faults)


def test_where_neither_exists_nothing_is_said() -> None:
    """Without any kernel no parity is reported."""
    with Refusing(lacks_tf32_too):
        found = smoked(LargeVariance, SHAPE)
    assert layouts_of(found) == []
    assert {fault.blame for fault in found.faults} == {"dtype"}
