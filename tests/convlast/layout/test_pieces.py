from __future__ import annotations

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from convlast.layout.pieces import PIECE_ELEMENTS, copy_elements, equal_elements, pieces_of

shapes = st.lists(st.sampled_from([1, 2, 3, 27, 300, 1300]), max_size=3).filter(
    lambda shape: math.prod(shape) < 500_000
)
seeds = st.integers(0, 1000)


def tensor_of(shape: list[int], seed: int) -> torch.Tensor:
    """Make a tensor whose dimensions have a random order in memory."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(shape), generator=generator).tolist()
    memory = torch.randint(-9, 9, [shape[i] for i in order], generator=generator)
    return memory.permute([order.index(i) for i in range(len(shape))])


@given(shapes, seeds)
def test_pieces_are_small_and_make_up_the_whole(shape: list[int], seed: int) -> None:
    """No piece is so large that PyTorch would start threads, and no element is left out."""
    whole = tensor_of(shape, seed)
    pieces = [piece for (piece,) in pieces_of(whole)]
    assert all(piece.numel() <= PIECE_ELEMENTS for piece in pieces)
    assert torch.equal(torch.cat([piece.reshape(-1) for piece in pieces]), whole.reshape(-1))


@given(shapes, seeds, seeds)
def test_all_elements_are_copied(shape: list[int], seed: int, other: int) -> None:
    """All elements are copied, whatever the strides."""
    source, target = tensor_of(shape, seed), tensor_of(shape, other)
    copy_elements(target, source)
    assert torch.equal(target, source)


@given(shapes, seeds, seeds, st.data())
def test_one_other_element_is_found(
    shape: list[int], seed: int, other: int, data: st.DataObject
) -> None:
    """One different element is found, wherever it is and whatever the strides."""
    left, right = tensor_of(shape, seed), tensor_of(shape, other)
    right.copy_(left)
    assert equal_elements(left, right)
    right[tuple(data.draw(st.integers(0, extent - 1)) for extent in shape)] += 1
    assert not equal_elements(left, right)


def test_other_shapes_are_not_equal() -> None:
    """Tensors of different shapes are not equal, even if broadcasting would make them so."""
    assert not equal_elements(torch.zeros(2, 3), torch.zeros(1, 3))
