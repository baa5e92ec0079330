import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

from convlast.smoke.layout import memory_format_of

extents = st.integers(1, 4)
shapes = st.tuples(extents, extents, extents, extents, extents)


@given(shapes)
def test_a_new_tensor_has_the_format_it_was_asked_for(shape: tuple[int, ...]) -> None:
    """The memory format is named, or `both` if the strides fit both."""
    strides = set()
    for name in ("contiguous_format", "channels_last_3d"):
        activation = torch.empty(shape, memory_format=getattr(torch, name))
        strides.add(activation.stride())
        assert memory_format_of(activation) in (name, "both")
    assert (memory_format_of(activation) == "both") == (len(strides) == 1)


@pytest.mark.parametrize("shape", [(2, 1, 4, 4, 4), (2, 8, 1, 1, 1), (1, 8, 1, 1, 1)])
def test_strides_decide_where_is_contiguous_says_both(shape: tuple[int, ...]) -> None:
    """With one channel or one position the strides still decide the format."""
    activation = torch.empty(shape, memory_format=torch.channels_last_3d)
    assert activation.is_contiguous()
    assert memory_format_of(activation) == "channels_last_3d"
    assert memory_format_of(torch.empty(shape)) == "contiguous_format"


def test_strides_of_neither_format_that_do_not_matter_say_both() -> None:
    """The stride of an extent of one is never used."""
    odd = torch.empty(64).as_strided((1, 1, 2, 2, 2), (77, 55, 4, 2, 1))
    assert memory_format_of(odd) == "both"
    assert memory_format_of(torch.empty(64).as_strided((1, 4, 2, 2, 2), (77, 8, 4, 2, 1))) == (
        "contiguous_format"
    )


def test_a_slice_is_in_neither_format() -> None:
    """A tensor with gaps is `strided`."""
    assert memory_format_of(torch.zeros(2, 8, 4, 4, 4)[:, :, ::2]) == "strided"


@pytest.mark.parametrize("name", ["contiguous_format", "channels_last_3d"])
def test_the_output_of_a_convolution_has_the_format_of_its_weight(name: str) -> None:
    """The output of a convolution has the memory format of its weight."""
    weight = torch.randn(4, 8, 3, 3, 3).to(memory_format=getattr(torch, name))
    assert memory_format_of(F.conv3d(torch.randn(2, 8, 5, 5, 5), weight)) == name
