"""The cast to fp16: what is in its way. What it makes is in test_options and test_laws."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from convlast.containers import open_checkpoint
from convlast.findings import conversion as findings
from convlast.planning.applying import apply_plan
from convlast.planning.casting import Casts
from convlast.planning.plan import make_plan
from tests import builders


def test_a_storage_of_two_dtypes_stays(tmp_path: Path) -> None:
    """Neither tensor could be cast without the other; torch.save does not write such files."""
    root = {**builders.one_convolution(), "a": builders.numbered(4), "b": builders.numbered(4)}
    checkpoint = open_checkpoint(builders.save(root, tmp_path / "source.pt"))
    plan = make_plan(checkpoint, "channels_last_3d")
    tensors = {entry.path: entry.value for entry in plan.entries}
    a, b = tensors["a",], tensors["b",]
    assert isinstance(a, torch.Tensor)
    assert isinstance(b, torch.Tensor)
    b.data = torch.empty(0, dtype=torch.float64).set_(a.untyped_storage(), 0, (2,), (1,))
    casts = apply_plan(checkpoint, plan, "float16").casts
    assert (a.dtype, b.dtype) == (torch.float32, torch.float64)
    assert casts.kept == {"several-dtypes": [("a",), ("b",)]}
    assert casts.dtypes["conv.weight",] == torch.float16


@pytest.mark.parametrize(
    ("number", "named"), [(1, "k0:"), (3, "k0, k1, k2:"), (5, "k0, k1, k2 and 2 more:")]
)
def test_a_finding_about_many_tensors_names_the_first(number: int, named: str) -> None:
    """A message stays readable, however many there are."""
    casts = Casts(kept={"negated": [(f"k{index}",) for index in range(number)]})
    [found] = findings.of_casts(casts)
    assert f"Not cast to fp16: {named} values are negated" in found.message
