"""What is measured of a model on a GPU, tried on a CPU with a tiny one and with times made up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import pytest
import torch
from torch import nn

from benchmarks.gpu import measuring
from benchmarks.gpu.measuring import Limits, Trio, compare, is_no_slower, measure
from convlast.smoke.model import timing
from convlast.smoke.model.clock import Race
from convlast.smoke.model.specimen import Specimen
from convlast.smoke.model.timing import Setting
from tests.subjects import CPU, converted_of, subject_of

NO_TIME = Limits(race_s=0.0, search_s=0.0)


def network() -> nn.Module:
    """Return two convolutions."""
    return nn.Sequential(nn.Conv3d(2, 4, 3), nn.ReLU(), nn.Conv3d(4, 4, 3))


@pytest.fixture
def make() -> partial[Specimen]:
    """What makes a tiny model."""
    subject = subject_of(network, (2, 6, 6, 6))
    return partial(Specimen, subject, converted_of(subject), CPU)


def converted_in(specimen: Specimen) -> list[str]:
    """Return the weights that are channels-last."""
    held = specimen.module.named_parameters()
    return [name for name, weight in held if weight.dim() == 5 and weight.stride(1) == 1]


def test_all_settings_are_measured(make: partial[Specimen]) -> None:
    """fp16 and autocast, each with cuDNN's choice and by trial; on a CPU nothing representative."""
    found = measure(make, 2, NO_TIME)
    assert [(each["autocast"], each["cudnn_benchmark"]) for each in found["settings"]] == [
        (False, False),
        (False, True),
        (True, False),
        (True, True),
    ]
    for setting in found["settings"]:
        for timed in (setting["all"], setting["fastest"]):
            assert timed["rounds"] >= 8
            assert timed["contiguous_s"] > 0
            assert timed["input_shape"] == [2, 2, 6, 6, 6]
            assert (timed["representative"], timed["converted_peak_bytes"]) == (False, None)
        assert setting["fastest_against_better"]["rounds"] >= 8
    assert found["passed"] == found["settings"][0]["fastest_is_no_slower"]
    assert found["convertible"] == 2
    assert found["choice"]["chosen"] in {"all", "some", "none"}


def test_both_weights_have_their_kernels_looked_at(make: partial[Specimen]) -> None:
    """A CPU has no kernels, and the reason is told."""
    found = measure(make, 2, NO_TIME)["kernels"]
    assert [each["weights"] for each in found] == ["contiguous", "converted"]
    assert [each["reason"] for each in found] == ["PyTorch's profiler saw no kernels."] * 2


def test_the_three_differ_in_what_is_converted(make: partial[Specimen]) -> None:
    """None, all, and the layers that were chosen."""
    trio = Trio.of(make, torch.float16, ["2.weight"])
    assert [converted_in(each) for each in (trio.none, trio.all, trio.fastest)] == [
        [],
        ["0.weight", "2.weight"],
        ["2.weight"],
    ]
    assert {each.dtype for each in (trio.none, trio.all, trio.fastest)} == {torch.float16}


@pytest.mark.parametrize(
    ("seconds", "better", "is_kept"),
    [
        ((2.0, 1.0, 1.0), "all", True),
        ((1.0, 2.0, 1.0), "none", True),
        ((2.0, 1.5, 1.0), "all", True),
        ((2.0, 1.0, 1.5), "all", False),
        ((1.0, 2.0, 1.1), "none", False),
    ],
)
def test_fastest_is_measured_against_the_better_of_all_and_none(
    make: partial[Specimen],
    monkeypatch: pytest.MonkeyPatch,
    seconds: tuple[float, float, float],
    better: str,
    is_kept: bool,
) -> None:
    """Slower than either fails, however much faster it is than the other."""
    trio = Trio.of(make, torch.float16, ["2.weight"])
    by_module = dict(zip(map(id, (trio.none, trio.all, trio.fastest)), seconds, strict=True))
    for module in (measuring, timing):
        monkeypatch.setattr(module, "race_of", partial(made_up, by_module))
    found = compare(trio, Setting(2), 0.0)
    assert (found["better"], found["fastest_is_no_slower"]) == (better, is_kept)
    assert found["all"]["converted_s"] == seconds[1]
    assert found["fastest"]["converted_s"] == seconds[2]


def made_up(
    by_module: Mapping[int, float], pair: Sequence[Specimen], setting: Setting, limit_s: float
) -> Race:
    """Return a race with the times that each specimen is said to take."""
    first_s, second_s = (by_module[id(each)] for each in pair)
    return Race((first_s,) * 8, (second_s,) * 8, is_stable=True)


@pytest.mark.parametrize(
    ("ratios", "is_stable", "is_kept"),
    [
        ([0.995] * 8, True, True),
        ([0.98] * 8, True, False),
        ([0.9, 1.0, 0.9, 1.0, 0.9, 1.0, 0.9, 1.0], True, True),
        ([1.5] * 8, False, False),
    ],
)
def test_slower_beyond_the_noise_is_slower(
    ratios: list[float], is_stable: bool, is_kept: bool
) -> None:
    """A percent or the spread is noise, and times that still move prove nothing."""
    race = Race(tuple(ratios), (1.0,) * len(ratios), is_stable)
    assert is_no_slower(race) is is_kept
