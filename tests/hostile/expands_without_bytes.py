"""A tiny file whose tensors are huge: strides of 0 repeat the few bytes there are."""

from __future__ import annotations

from tests.hostile.parts import state_dict, tensor, torch_zip


def one_tensor(numel: int = 29_000_000_000) -> bytes:
    """Return a tensor of 29e9 elements over four bytes."""
    return torch_zip(state_dict(conv__weight=tensor(), huge=tensor((numel,), (0,))))


def many_tensors(count: int = 300) -> bytes:
    """Return tensors that are each small enough, of a megabyte, and together are not."""
    tensors = {f"t{index}": tensor((1 << 18, index + 1), (0, 0)) for index in range(count)}
    return torch_zip(state_dict(conv__weight=tensor(), **tensors))
