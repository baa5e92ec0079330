"""fp16 on a device: how an operation runs in half precision, and what the report calls it.

On an accelerator fp16 is native. A CPU without AVX512-FP16 has no fast fp16 convolution, and for
some operators no fp16 kernel at all. There the operands are rounded to fp16, the operation is
computed in fp32, and its result is rounded to fp16. A tensor core computes the same way: it
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
"""The parts of cuDNN that each have their own fp32 precision setting."""


def is_native(device: torch.device) -> bool:
    """Say whether fp16 runs natively on this device.

    >>> is_native(torch.device("cuda", 0)), is_native(torch.device("cpu"))
    (True, False)
    """
    return device.type != "cpu"


def name_on(device: torch.device) -> str:
    """Return the report's name for fp16 on this device.

    >>> name_on(torch.device("cpu"))
    'float16 (emulated: float32 accumulation)'
    """
    return NATIVE if is_native(device) else EMULATED


def run_in_float16(operation: Callable[..., Tensor], *operands: Tensor) -> Tensor:
    """Run an operation in fp16 on the device of its operands.

    Rounding keeps the strides of the operands and of the result, so the result has the layout that
    it would have in native fp16.

    Args:
        operation: Takes the operands and returns one tensor.
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
    """Keep cuDNN from computing fp32 convolutions in TF32, and restore the setting afterwards.

    TF32 rounds operands to 10 bits, as fp16 does: a reference in TF32 would hide the error of fp16.

    Source: https://docs.pytorch.org/docs/stable/notes/cuda.html#tensorfloat-32-tf32-on-ampere-and-later-devices
    """
    with _convolutions_in("ieee"):
        yield


@contextmanager
def tf32() -> Iterator[None]:
    """Let cuDNN compute fp32 convolutions in TF32, and restore the setting afterwards."""
    with _convolutions_in("tf32"):
        yield


@contextmanager
def _convolutions_in(precision: str) -> Iterator[None]:
    """Set cuDNN's fp32 precision, in the old setting and in the new ones.

    Both are set because a model's code may read the old one, `torch.backends.cudnn.allow_tf32`,
    which raises if the new ones contradict it.
    """
    cudnn = torch.backends.cudnn
    before = {name: getattr(cudnn, name).fp32_precision for name in _USERS}
    try:
        is_allowed = cudnn.allow_tf32
    except RuntimeError:  # the settings contradicted each other before
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
