"""Safetensors files that are written: of what they can hold, and of nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import convlast
from convlast.errors import OptionError, UnsupportedContainerError
from convlast.options import Options
from tests import builders

OPTIONS = Options(smoke="none", container="safetensors", on_failure="report")

COMPLEX = torch.complex(builders.numbered(3), builders.numbered(3))

MISFITS: dict[str, tuple[dict[str, Tensor], str]] = {
    "a conjugated view": ({"x": COMPLEX.conj()}, "conjugates or negates"),
    "a negated view": ({"x": COMPLEX.conj().imag}, "conjugates or negates"),
    "the name of the metadata": ({"__metadata__": torch.ones(1)}, "cannot be a name"),
    "a name that is no text": ({"\udce9": torch.ones(1)}, "cannot be a name"),
}


@pytest.mark.parametrize("kind", MISFITS)
def test_what_does_not_fit_is_refused_by_name(kind: str, tmp_path: Path) -> None:
    """Before a byte is written: not as a damaged file, nor as a proof that failed."""
    more, words = MISFITS[kind]
    source = builders.save({**builders.one_convolution(), **more}, tmp_path / "source.pt")
    with pytest.raises(OptionError, match=words):
        convlast.convert(source, tmp_path / "target.safetensors", OPTIONS)
    assert [path.name for path in tmp_path.iterdir()] == ["source.pt"]


@pytest.mark.parametrize(
    "dtype", [torch.float8_e4m3fnuz, torch.float8_e5m2fnuz, torch.float8_e8m0fnu]
)
def test_every_dtype_of_both_is_read_and_written(dtype: torch.dtype, tmp_path: Path) -> None:
    """The format's newer names for eight bits are PyTorch's."""
    scales = builders.numbered(8, dtype=torch.uint8).view(dtype)
    tensors = {"conv.weight": builders.numbered(*builders.SHAPE), "scales": scales}
    source = builders.save_safetensors(tensors, tmp_path / "source.safetensors")
    convlast.convert(source, tmp_path / "a.safetensors", OPTIONS)
    convlast.convert(source, tmp_path / "b.pt", Options(smoke="none"))
    for made in (load_file(tmp_path / "a.safetensors"), torch.load(tmp_path / "b.pt")):
        assert made["scales"].dtype == dtype
        assert torch.equal(made["scales"].view(torch.uint8), scales.view(torch.uint8))


def test_a_dtype_that_is_not_read_is_refused_with_a_remedy(tmp_path: Path) -> None:
    """Two numbers in a byte have another shape there than in PyTorch."""
    pairs = torch.zeros(4, dtype=torch.uint8).view(torch.float4_e2m1fn_x2)
    tensors = {"conv.weight": builders.numbered(*builders.SHAPE), "pairs": pairs}
    source = builders.save_safetensors(tensors, tmp_path / "source.safetensors")
    with pytest.raises(UnsupportedContainerError, match="F4, which is not read here") as caught:
        convlast.inspect(source)
    assert caught.value.remedy


def test_a_tensor_of_other_strides_is_verified(tmp_path: Path) -> None:
    """It becomes contiguous, as all in this format: what passed when it was made passes later."""
    tensors = {**builders.one_convolution(), "table": builders.numbered(3, 4).t()}
    source, target = builders.save(tensors, tmp_path / "s.pt"), tmp_path / "t.safetensors"
    assert convlast.convert(source, target, OPTIONS).verdict == "passed"
    assert convlast.verify(source, target).verdict == "passed"
