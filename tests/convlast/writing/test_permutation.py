"""Elements change places, and nothing else happens to them."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from convlast.layout.memory_format import strides_of
from convlast.writing.permutation import Restriding, permute_all, permuted

CPU = torch.device("cpu")
DTYPES = [torch.uint8, torch.float16, torch.float32, torch.float64, torch.complex128]
extents = st.integers(1, 5)
shapes = st.tuples(extents, extents, extents, extents, extents)


def random_bits(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """Make a contiguous tensor of any bits, NaNs with a payload among them."""
    count = torch.Size(shape).numel() * dtype.itemsize
    return torch.randint(0, 256, (count,), dtype=torch.uint8).view(dtype).view(shape)


def bytes_of(tensor: torch.Tensor) -> bytes:
    """Read a tensor's elements in the order of memory."""
    flat = tensor.as_strided((tensor.numel(),), (1,))
    return bytes(flat.view(torch.uint8).tolist())


@given(shapes, st.sampled_from(DTYPES))
def test_it_is_what_pytorch_makes_of_the_weight(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    """Bit for bit, for each size of element."""
    weight = random_bits(shape, dtype)
    expected = torch.empty_strided(shape, strides_of(shape, "channels_last_3d"), dtype=dtype)
    expected.view_as(weight).copy_(weight)
    assert permuted(weight, expected.stride(), CPU) == bytes_of(expected)


@given(st.lists(shapes, max_size=5))
def test_many_share_memory_and_do_not_mix(all_shapes: list[tuple[int, ...]]) -> None:
    """Large after small and small after large, each comes out as it would alone, in order."""
    weights = [random_bits(shape, torch.float32) for shape in all_shapes]

    def fill(buffer: memoryview, weight: torch.Tensor) -> None:
        buffer[:] = bytes_of(weight)

    restridings = [
        Restriding(shape, weight.stride(), strides_of(shape, "channels_last_3d"), 4)
        for shape, weight in zip(all_shapes, weights, strict=True)
    ]
    jobs = (
        (restriding, lambda buffer, weight=weight: fill(buffer, weight))
        for restriding, weight in zip(restridings, weights, strict=True)
    )
    found = [(bytes(before), bytes(after)) for before, after in permute_all(jobs, CPU)]
    assert found == [
        (bytes_of(weight), permuted(weight, restriding.after, CPU))
        for restriding, weight in zip(restridings, weights, strict=True)
    ]


@given(shapes, st.sampled_from(DTYPES), st.data())
def test_one_other_bit_is_not_the_same_weight(
    shape: tuple[int, ...], dtype: torch.dtype, data: st.DataObject
) -> None:
    """NaN equals itself, and nothing else does."""
    weight = random_bits(shape, dtype)
    moved = strides_of(shape, "channels_last_3d")
    restriding = Restriding(shape, weight.stride(), moved, dtype.itemsize)
    before, after = bytearray(bytes_of(weight)), bytearray(permuted(weight, moved, CPU))
    assert restriding.relates(memoryview(before), memoryview(after))
    after[data.draw(st.integers(0, len(after) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert not restriding.relates(memoryview(before), memoryview(after))
