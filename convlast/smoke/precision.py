"""fp16 on a device: how an operation is run in half precision, and what the report calls it.

On an accelerator fp16 is native. A CPU without AVX512-FP16 has no fast fp16 convolution, and for
some operators no fp16 kernel at all; there the operands are rounded to fp16, the operation is
computed in fp32, and its result is rounded to fp16. That is the arithmetic of a tensor core, which
multiplies fp16 operands and accumulates in fp32.

Source: https://docs.nvidia.com/deeplearning/performance/mixed-precision-training/index.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

NATIVE = "float16"
EMULATED = "float16 (emulated: float32 accumulation)"

_USERS = ("conv", "rnn")
"""What of cuDNN computes in fp32, and has a setting of its own."""


def is_native(device: torch.device) -> bool:
    """Say whether fp16 runs as it is on this device.

    >>> is_native(torch.device("cuda", 0)), is_native(torch.device("cpu"))
    (True, False)
    """
    return device.type != "cpu"


def name_on(device: torch.device) -> str:
    """Return what the report calls fp16 on this device.

    >>> name_on(torch.device("cpu"))
    'float16 (emulated: float32 accumulation)'
    """
    return NATIVE if is_native(device) else EMULATED


def run_in_float16(operation: Callable[..., Tensor], *operands: Tensor) -> Tensor:
    """Run an operation in fp16 on the device of its operands.

    Rounding keeps each operand's strides and the result's, so that the operation chooses the
    layout it would choose in native fp16, and that layout comes out.

    Args:
        operation: Takes the operands, gives one tensor.
        operands: Floating-point tensors on one device.

    Returns:
        The result, as fp16. A value beyond 65504 is infinite.

    >>> run_in_float16(torch.add, torch.tensor([2048.0]), torch.tensor([1.0]))
    tensor([2048.], dtype=torch.float16)
    """
    halves = [operand.to(torch.float16) for operand in operands]
    if is_native(halves[0].device):
        return operation(*halves)
    return operation(*(half.to(torch.float32) for half in halves)).to(torch.float16)


@contextmanager
def exact_float32() -> Iterator[None]:
    """Keep cuDNN from computing fp32 convolutions in TF32, and put the setting back.

    TF32 rounds operands to 10 bits, as fp16 does: such a reference would hide what fp16 costs.

    Source: https://docs.pytorch.org/docs/stable/notes/cuda.html#tensorfloat-32-tf32-on-ampere-and-later-devices
    """
    with _convolutions_in("ieee"):
        yield


@contextmanager
def tf32() -> Iterator[None]:
    """Let cuDNN compute fp32 convolutions in TF32, and put the setting back."""
    with _convolutions_in("tf32"):
        yield


@contextmanager
def _convolutions_in(precision: str) -> Iterator[None]:
    """Set how cuDNN computes in fp32, in the old way of saying it and in the new.

    Both, since a model's code may read the old one, `torch.backends.cudnn.allow_tf32`, and that
    raises where the new ones say something else.
    """
    cudnn = torch.backends.cudnn
    before = {name: getattr(cudnn, name).fp32_precision for name in _USERS}
    try:
        is_allowed = cudnn.allow_tf32
    except RuntimeError:  # they say something else already
        is_allowed = before["conv"] == "tf32"
    cudnn.allow_tf32 = precision == "tf32"
    for name in _USERS:
        getattr(cudnn, name).fp32_precision = precision
    try:
        yield
    finally:
        cudnn.allow_tf32 = is_allowed
        for name, value in before.items():
            getattr(cudnn, name).fp32_precision = value
