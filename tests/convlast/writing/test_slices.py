"""Large weights pass through memory in slices, which nobody can tell from the artifact."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import convlast
from convlast.errors import VerificationError
from convlast.options import Options
from convlast.proving import comparison
from convlast.writing import filling
from convlast.writing.copying import write_exactly
from tests import builders

SMALL = 300
"""Bytes of a slice: less than what one output channel of the larger weights takes."""


def checkpoint(path: Path) -> Path:
    """Save weights of several dtypes and layouts, some of them inside a larger storage."""
    torch.manual_seed(0)
    base = torch.randn(2 * 8 * 4 * 27 + 5)
    return builders.save(
        {
            "plain.weight": torch.randn(8, 4, 3, 3, 3),
            "half.weight": torch.randn(5, 2, 1, 3, 2).half(),
            "last.weight": torch.randn(6, 4, 3, 3, 3).to(memory_format=torch.channels_last_3d),
            "inner.weight": base[5:].view(16, 4, 3, 3, 3)[3:11],
            "turned.weight": torch.randn(3, 3, 3, 4, 8).permute(4, 3, 0, 1, 2),
            "transposed": nn.ConvTranspose3d(4, 6, 2).state_dict(),
            "bias": torch.randn(7),
        },
        path,
    )


@pytest.mark.parametrize(
    "options", [{}, {"dtype": "float16"}, {"memory_format": "contiguous_format"}]
)
def test_the_artifact_is_the_same(
    options: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Byte for byte, whether a weight is cut or not."""
    chosen = Options.parse(smoke="none", **options)
    source = checkpoint(tmp_path / "source.pt")
    convlast.convert(source, tmp_path / "whole.pt", chosen)
    monkeypatch.setattr(filling, "SLICE_BYTES", SMALL)
    monkeypatch.setattr(comparison, "SLICE_BYTES", SMALL)
    report = convlast.convert(source, tmp_path / "cut.pt", chosen)
    assert report.verdict != "failed"
    assert (tmp_path / "cut.pt").read_bytes() == (tmp_path / "whole.pt").read_bytes()


def test_a_fault_in_one_slice_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof looks at every slice, the last one too."""
    monkeypatch.setattr(filling, "SLICE_BYTES", SMALL)
    monkeypatch.setattr(comparison, "SLICE_BYTES", SMALL)
    written: list[int] = []

    def damaging(descriptor: int, data: memoryview, offset: int) -> None:
        written.append(offset)
        spoilt = bytearray(data)
        if offset == max(written) and len(written) > 7:
            spoilt[-1] ^= 1
        write_exactly(descriptor, memoryview(spoilt), offset)

    source = builders.save({"weight": torch.randn(8, 4, 3, 3, 3)}, tmp_path / "source.pt")
    monkeypatch.setattr(filling, "write_exactly", damaging)
    with pytest.raises(VerificationError):
        convlast.convert(source, tmp_path / "target.pt", Options(smoke="none"))
    assert len(written) == 8, "one slice for each output channel"
