"""fp16 for a whole model on a CPU: tensors really are fp16, heavy operators compute in fp32.

A CPU without AVX512-FP16 has no fast fp16 convolution, and for some operators no fp16 kernel at
all. Here dtypes, and so every cast in a model, are the same as on a GPU. Convolutions, matrix
products, pooling and attention are computed in fp32 from fp16 operands, and each result is rounded
to fp16 once, as tensor cores and PyTorch's fp16 kernels for CUDA do. All other operators run in
PyTorch's own fp16 kernels for the CPU. Of these norms, softmax, upsampling, sums and activations
were compared with fp32, in both layouts: each is off by no more than one rounding. Adaptive pooling
adds up in fp16, and was off by half of its scale.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from convlast.smoke.modes import OperatorMode
from convlast.smoke.operands import tensors_in

HEAVY = frozenset(
    {
        "convolution",
        "_convolution",
        "convolution_overrideable",
        "conv1d",
        "conv2d",
        "conv3d",
        "conv_transpose1d",
        "conv_transpose2d",
        "conv_transpose3d",
        "linear",
        "matmul",
        "mm",
        "addmm",
        "bmm",
        "baddbmm",
        "addbmm",
        "addmv",
        "mv",
        "dot",
        "avg_pool2d",
        "avg_pool3d",
        "_adaptive_avg_pool2d",
        "_adaptive_avg_pool3d",
        "adaptive_avg_pool3d",
        "scaled_dot_product_attention",
        "_scaled_dot_product_flash_attention_for_cpu",
        "grid_sampler_3d",
        "_native_multi_head_attention",
    }
)
"""Operators that are computed in fp32, because their fp16 kernel for the CPU is slow, is missing,
or adds up in fp16."""

_CONVOLUTIONS = frozenset({"convolution", "_convolution", "conv3d", "conv_transpose3d"})

_LOW = (torch.float16, torch.bfloat16)


class Emulation(OperatorMode):  # type: ignore[no-untyped-call]  # of its own base
    """While this mode is on, operators on low-precision CPU tensors are emulated."""

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run one operator."""
        kwargs = kwargs or {}
        if func.overloadpacket.__name__ in HEAVY:
            return _in_float32(func, args, kwargs)
        try:
            return func(*args, **kwargs)
        except RuntimeError as error:
            if "not implemented for" not in str(error) or func._schema.is_mutable:
                raise
            return _in_float32(func, args, kwargs)


def _in_float32(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Compute an operator in fp32; the result has the dtype of the first low-precision operand.

    Casts keep strides, so the operator chooses the layout that it would choose in fp16.
    """
    dtype = next((part.dtype for part in tensors_in((args, kwargs)) if part.dtype in _LOW), None)
    if dtype is None:
        return func(*args, **kwargs)
    wide = {name: _cast(value, _LOW, torch.float32) for name, value in kwargs.items()}
    if kwargs.get("dtype") in _LOW:
        wide["dtype"] = torch.float32
    operands = _cast(tuple(args), _LOW, torch.float32)
    if _is_slow_for_one(func, operands):
        # That kernel also loses the layout, unlike cuDNN's: a view of the result would pass here
        # and raise on a GPU.
        result = func(torch.cat([operands[0]] * 2), *operands[1:], **wide)[:1]
    else:
        result = func(*operands, **wide)
    if kwargs.get("dtype") == torch.float32:
        return result
    return _cast(result, (torch.float32,), dtype)


def _is_slow_for_one(func: Any, operands: tuple[Any, ...]) -> bool:
    """Say whether this is a convolution of one sample; PyTorch may use a slow kernel for it."""
    if func.overloadpacket.__name__ not in _CONVOLUTIONS:
        return False
    source = operands[0]
    return isinstance(source, Tensor) and source.dim() == 5 and source.shape[0] == 1


def _cast(value: Any, dtypes: tuple[torch.dtype, ...], dtype: torch.dtype) -> Any:
    """Cast the tensors of some dtypes in an operator's operand or result, which may be nested."""
    if isinstance(value, Tensor):
        return value.to(dtype) if value.dtype in dtypes else value
    if isinstance(value, tuple | list):
        return type(value)([_cast(part, dtypes, dtype) for part in value])
    return value
