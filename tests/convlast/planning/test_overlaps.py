"""Tensors that share bytes are found, and aliases are not among them."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from convlast.checkpoints.tree import walk
from convlast.layout.memory_format import place_of
from convlast.options import Limits
from convlast.planning.overlaps import touched_places


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 40), st.sampled_from([(1, 2, 1, 1, 2), (1, 2, 2, 1, 2), (1, 1, 1, 1, 3)])
        ),
        min_size=1,
        max_size=6,
    )
)
def test_overlaps_are_found_by_comparing_all_pairs(
    places: list[tuple[int, tuple[int, ...]]],
) -> None:
    """A place is touched exactly if another one shares some of its bytes."""
    buffer = torch.zeros(60)
    tensors: list[Tensor] = []
    for offset, shape in places:
        numel = torch.Size(shape).numel()
        tensors.append(buffer[offset : offset + numel].view(shape))
    spans = {(offset, offset + torch.Size(shape).numel(), shape) for offset, shape in places}
    touched = touched_places(walk(tensors, Limits()))
    for tensor, (offset, shape) in zip(tensors, places, strict=True):
        mine = (offset, offset + torch.Size(shape).numel(), shape)
        shared = any(other[0] < mine[1] and mine[0] < other[1] for other in spans if other != mine)
        assert (place_of(tensor) in touched) == shared
