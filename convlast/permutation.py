"""The conversion of bytes: the elements of one weight, put in the order of new strides."""

from __future__ import annotations

import torch

from convlast.checkpoints.checkpoint import tensor_over

_CARRIER = {
    1: torch.uint8,
    2: torch.int16,
    4: torch.int32,
    8: torch.int64,
    16: torch.complex128,
}
"""A dtype for each item size, so that elements are moved as bits and no value is looked at."""


def permuted(weight: torch.Tensor, stride: tuple[int, ...], device: torch.device) -> bytearray:
    """Return a dense weight's bytes in the order of other strides.

    Args:
        weight: (O, I, D, H, W), on the CPU, dense.
        stride: The new strides, dense, in elements.
        device: Where the elements change places.

    >>> weight = torch.arange(4, dtype=torch.uint8).reshape(1, 2, 1, 1, 2)
    >>> list(permuted(weight, (4, 1, 4, 4, 2), torch.device("cpu")))
    [0, 2, 1, 3]
    """
    carrier = _CARRIER[weight.itemsize]
    buffer = bytearray(weight.numel() * weight.itemsize)
    flat = weight.detach().as_strided((weight.numel(),), (1,)).view(carrier)
    bits = flat.as_strided(weight.shape, weight.stride())
    target = tensor_over(buffer, carrier).as_strided(weight.shape, stride)
    if device.type == "cpu":
        target.copy_(bits)
    else:
        moved = torch.empty_strided(weight.shape, stride, dtype=carrier, device=device)
        moved.copy_(flat.to(device).as_strided(weight.shape, weight.stride()))
        target.copy_(moved)
    return buffer


def bits_of(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor's stored bits as integers, so that NaN equals NaN and -0.0 not 0.0.

    >>> bits_of(torch.tensor([0.0, -0.0]))
    tensor([          0, -2147483648], dtype=torch.int32)
    """
    tensor = tensor.detach()
    if tensor.is_conj():
        tensor = tensor.conj()
    if tensor.is_neg():
        tensor = tensor.neg()
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    return tensor.view(_CARRIER[tensor.itemsize])
