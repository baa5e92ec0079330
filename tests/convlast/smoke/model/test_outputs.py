"""The tensors that models return, and how two results are compared."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from convlast.smoke.model.outputs import outputs_of, parity_of, sample_of


@dataclass
class Posterior:
    """An object with tensors in its attributes, as autoencoders return."""

    mean: Tensor
    deterministic: bool = False


class Pair(NamedTuple):
    """A tuple with names."""

    boxes: Tensor
    number: Tensor


def test_tensors_are_found_wherever_they_stand() -> None:
    """Tensors are found in dicts, named tuples, lists and objects; integers are not outputs."""
    result = OrderedDict(
        sample=torch.zeros(1),
        latent_dist=Posterior(torch.ones(2)),
        pair=Pair(torch.zeros(3), torch.zeros(3, dtype=torch.int64)),
        hidden=[torch.zeros(4), None],
    )
    assert list(outputs_of(result)) == ["sample", "latent_dist.mean", "pair.boxes", "hidden.0"]


def test_a_result_without_tensors_has_no_outputs() -> None:
    """Text and numbers are not outputs."""
    assert outputs_of({"text": "yes", "number": 3}) == {}


def test_a_complex_result_is_compared_as_pairs_of_numbers() -> None:
    """A spectrum, and its conjugate too."""
    spectrum = torch.tensor([1 + 2j])
    found = outputs_of([spectrum, spectrum.conj()])
    assert [output.tolist() for output in found.values()] == [[[1.0, 2.0]], [[1.0, -2.0]]]


def test_the_output_that_agrees_least_is_told() -> None:
    """Each output is compared by its own scale, so a small one is not hidden by a large one."""
    reference = {"large": torch.full((9,), 1000.0), "small": torch.full((9,), 0.1)}
    actual = {"large": torch.full((9,), 1000.0), "small": torch.full((9,), 0.15)}
    parity = parity_of(reference, actual, pair="dtype", threshold=0.02)
    assert (parity.output, parity.passed) == ("small", False)
    assert parity.relative == pytest.approx(0.5)


def test_quantiles_tell_a_few_outliers_from_a_general_error() -> None:
    """If one value of a thousand is off, the 99 % quantile is zero."""
    reference = torch.ones(1000)
    actual = reference.clone()
    actual[7] = 1.5
    parity = parity_of({"0": reference}, {"0": actual}, pair="layout", threshold=0.1)
    assert parity.quantiles == {"0.5": 0.0, "0.9": 0.0, "0.99": 0.0, "0.999": 0.0}
    assert parity.relative == pytest.approx(0.5)


def test_results_of_other_parts_are_refused() -> None:
    """Results with different outputs cannot be compared."""
    with pytest.raises(ValueError, match="cannot be compared"):
        parity_of({"a": torch.ones(1)}, {"b": torch.ones(1)}, pair="layout", threshold=0.1)


def test_a_sample_is_the_same_in_both_layouts() -> None:
    """A sample is taken in the order of the indices, not of the bytes."""
    x = torch.randn(2, 8, 5, 6, 7)
    laid_out = x.to(memory_format=torch.channels_last_3d)
    assert torch.equal(sample_of(x, 100), sample_of(laid_out, 100))
    assert sample_of(x, 100).numel() == 100
