"""Only a GPU says what is fast, and what it says narrows the plan."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import cast

import pytest
import torch
from torch import Tensor, nn

import convlast
from convlast import Options
from convlast.architectures import Case
from convlast.containers import open_checkpoint
from convlast.conversion import fastest
from convlast.conversion import file as file_conversion
from convlast.conversion.fastest import narrowed
from convlast.errors import OptionError
from convlast.planning.plan import make_plan
from convlast.report.smoke import Choice
from convlast.smoke.model.specimen import Specimen
from tests import builders
from tests.builders import a_model
from tests.subjects import CPU, subject_of


@pytest.mark.parametrize(
    ("options", "option"),
    [
        (Options(select=("fastest",)), "select"),
        (Options(min_speedup=1.1), "min_speedup"),
    ],
)
def test_what_needs_a_gpu_is_refused_on_a_cpu(
    options: Options, option: str, state_dict: Path, tmp_path: Path
) -> None:
    """Before any work: a CPU's times decide nothing."""
    with pytest.raises(OptionError, match="CPU") as refusal:
        convlast.convert(state_dict, tmp_path / "out.pt", options, device="cpu")
    assert refusal.value.details["option"] == option
    assert not (tmp_path / "out.pt").exists()


def test_layers_that_were_measured_and_not_chosen_are_kept(tmp_path: Path) -> None:
    """Others stay as planned, since nothing is known of them."""
    path = tmp_path / "model.pt"
    torch.save(a_model().state_dict(), path)
    plan = make_plan(open_checkpoint(path), "channels_last_3d")
    names = [decision.name for decision in plan.decisions]
    found = narrowed(plan, {names[0]}, set(names[:2]))
    assert [decision.status for decision in found.decisions] == [
        "converted",
        "kept",
        *(decision.status for decision in plan.decisions[2:]),
    ]
    kept = found.decisions[1]
    assert kept.stride_after == kept.original.stride()


def test_a_layer_that_is_not_chosen_keeps_what_a_manifest_gives_it(tmp_path: Path) -> None:
    """Its bytes in a safetensors file are contiguous, whatever its order is."""
    order = torch.zeros(3, 3, 3, 3, 4).permute(4, 3, 0, 1, 2)
    tensors = {"a.weight": order, "b.weight": order.contiguous()}
    path = builders.save(tensors | {"a.bias": torch.zeros(4)}, tmp_path / "model.pt")
    options = Options(select=("b.*",), smoke="none", container="safetensors")
    convlast.convert(path, tmp_path / "model.safetensors", options)
    plan = make_plan(open_checkpoint(tmp_path / "model.safetensors"), "channels_last_3d")
    kept = narrowed(plan, set(), {"a.weight"}).decisions[0]
    assert (kept.status, kept.stride_after) == ("kept", order.stride())


def test_fastest_is_measured_on_a_smaller_input_where_memory_runs_out(
    module: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the report says so."""

    def choose(make: partial[Specimen], samples: int) -> Choice:
        if make().halvings < 2:
            raise torch.OutOfMemoryError
        layers = list(make().converted)[:1]
        return Choice(chosen="some", layers=layers, seconds={}, speedup=1.2, spread=0.0)

    monkeypatch.setattr(fastest, "choose_on_accelerator", choose)
    monkeypatch.setattr(file_conversion, "refuse_unmeasurable", lambda options, device: None)
    report = convlast.convert(module, tmp_path / "out.pt", Options(select=("fastest",)))
    assert [layer.status for layer in report.layers] == ["converted", "kept"]
    assert report.smoke is not None
    assert report.smoke.choice is not None
    assert report.smoke.choice.halvings == 2
    (told,) = (finding for finding in report.findings if finding.code == "smoke-shrunk")
    assert "halved 2 times" in told.message


def test_one_sample_is_measured_where_several_raise(tmp_path: Path) -> None:
    """`select=fastest` measures a model for one sample too."""

    class OneSample(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv3d(3, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return cast(Tensor, self.conv(x)).reshape(1, 4, *x.shape[2:])

    checkpoint = open_checkpoint(builders.save(a_model().state_dict(), tmp_path / "m.pt"))
    plan = make_plan(checkpoint, "channels_last_3d")

    def samples_of(make: Callable[[], nn.Module], options: Options) -> int:
        specimen = Specimen(subject_of(make, (3, 2, 2, 2)), {}, CPU)
        return fastest._samples(specimen, Case(checkpoint, plan, options), 2)

    assert samples_of(OneSample, Options()) == 1
    assert samples_of(lambda: nn.Sequential(nn.Conv3d(3, 4, 1)), Options()) == 2
    with pytest.raises(OptionError, match="does not run on"):
        samples_of(OneSample, Options(input_shape=(2, 3, 2, 2, 2)))
