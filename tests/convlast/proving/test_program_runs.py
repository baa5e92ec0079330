"""A program, run before and after on the same input."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from convlast.containers import open_checkpoint
from convlast.proving import program_runs
from convlast.proving.program_runs import require_same_results, try_script


class Careless(nn.Module):
    """Returns memory that it did not write."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(3, 4, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Run."""
        x = self.conv(x)
        return x, torch.empty_like(x)


@pytest.mark.parametrize("kind", ["exported", "script"])
def test_memory_that_a_program_never_wrote_breaks_nothing(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such memory is zero in both runs, so it is no difference of the results."""
    jit: Any = torch.jit  # whose functions are not annotated
    results: list[Any] = []
    real = program_runs._difference

    def difference(expected: Any, found: Any) -> float:
        results.extend((expected[1], found[1]))
        return real(expected, found)

    monkeypatch.setattr(program_runs, "_difference", difference)
    path, sample = tmp_path / "m", torch.randn(2, 3, 6, 6, 6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated, and still sent
        if kind == "exported":
            torch.export.save(torch.export.export(Careless().eval(), (sample,)), path)
            require_same_results(path, path)
        else:
            jit.save(jit.script(Careless().eval()), path)
            program: Any = open_checkpoint(path, allow_programs=True)
            assert try_script(program, path, tuple(sample.shape)).difference is None
    assert [float(each.abs().max()) for each in results] == [0, 0]
