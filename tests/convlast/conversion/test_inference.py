"""Which smoke a file gets, and what of it the report says."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import nn

import convlast
from convlast import Options
from convlast.conversion import inference
from convlast.devices.compatibility import Device, troubles_of
from convlast.errors import OptionError
from convlast.findings.advice import advise
from convlast.findings.smoke import of_speed, of_troubles
from convlast.report import Advice, Finding
from convlast.report.smoke import Choice, Dispatch, Flip, OperatorTime, Permutations, Smoke, Timing
from convlast.smoke.model import specimen


def test_without_a_model_layers_are_run_and_the_reason_is_told(
    state_dict: Path, tmp_path: Path
) -> None:
    """`smoke=auto` does what it can."""
    report = convlast.convert(state_dict, tmp_path / "out.pt")
    assert report.smoke is not None
    assert report.smoke.scope == "layers"
    assert "what model it is for" in str(report.smoke.reason)
    assert "model-not-run" in {finding.code for finding in report.findings}


def test_layers_are_run_where_that_is_asked_for(module: Path, tmp_path: Path) -> None:
    """Even where there is a model; and nothing has to be explained."""
    report = convlast.convert(module, tmp_path / "out.pt", Options(smoke="layers"))
    assert report.smoke is not None
    assert (report.smoke.scope, report.smoke.reason) == ("layers", None)
    assert "model-not-run" not in {finding.code for finding in report.findings}


def test_a_module_in_the_file_is_run_whole(module: Path, tmp_path: Path) -> None:
    """With parity, ranges, trace, a time that says it is a CPU's, and a smoke for each layer."""
    report = convlast.convert(module, tmp_path / "out.pt")
    smoke = report.smoke
    assert smoke is not None
    assert (report.verdict, smoke.scope, smoke.status) == ("passed", "model", "passed")
    assert {parity.pair for parity in smoke.parity} >= {"dtype", "layout", "autocast_layout"}
    assert [activation.module for activation in smoke.activations] == ["0", "1", "2"]
    assert all(activation.absmin for activation in smoke.activations)
    assert [flip.kind for flip in smoke.flips] == ["InstanceNorm3d", "Conv3d"]
    assert smoke.timing is not None
    assert not smoke.timing.representative
    assert all(layer.smoke is not None and layer.smoke.finite for layer in report.layers)
    assert report.advice is not None
    assert report.advice.decision == "undecided"
    assert any("InstanceNorm3d" in reason for reason in report.advice.reasons)


def test_every_tensor_has_its_magnitudes(module: Path, tmp_path: Path) -> None:
    """The report has the extremes of all tensors, also of those with room in fp16."""
    smoke = convlast.convert(module, tmp_path / "out.pt").smoke
    assert smoke is not None
    state = torch.load(module, weights_only=False).state_dict()
    extremes = {name: (value.abs().max(), value.abs().min()) for name, value in state.items()}
    assert {found.name: (found.absmax, found.absmin) for found in smoke.magnitudes} == extremes
    assert len(smoke.range) < len(smoke.magnitudes)


def test_the_weights_that_run_are_those_that_were_written(module: Path, tmp_path: Path) -> None:
    """A layer that is not selected stays contiguous, in the model that is run too."""
    report = convlast.convert(module, tmp_path / "out.pt", Options(select=("2.weight",)))
    assert report.smoke is not None
    steps = {step.module: step for step in report.smoke.trace}
    assert steps["0"].output_memory_format == "contiguous_format"
    assert steps["2"].output_memory_format == "channels_last_3d"


def test_a_model_that_is_asked_for_and_absent_is_refused(state_dict: Path, tmp_path: Path) -> None:
    """`smoke=model` does not fall back."""
    with pytest.raises(OptionError, match="Give architecture"):
        convlast.convert(state_dict, tmp_path / "out.pt", Options(smoke="model"))


def test_layers_that_there_was_no_time_for_are_told_of(state_dict: Path, tmp_path: Path) -> None:
    """The artifact is written all the same, and no layer passed that did not run."""
    report = convlast.convert(state_dict, tmp_path / "out.pt", Options(smoke_seconds=1e-9))
    assert report.smoke is not None
    assert (report.smoke.status, report.verdict) == ("skipped", "passed_with_findings")
    assert not any(layer.smoke for layer in report.layers)
    (told,) = (finding for finding in report.findings if finding.code == "smoke-cut-short")
    number = len(report.layers)
    assert f"{number} of {number} layers were not run" in told.message


def test_a_model_that_there_was_no_time_for_is_told_of(module: Path, tmp_path: Path) -> None:
    """Without time an input is not found, which is no error, even where the model is asked for."""
    options = Options(smoke="model", smoke_seconds=1e-9)
    report = convlast.convert(module, tmp_path / "out.pt", options)
    assert report.smoke is not None
    assert report.smoke.status == "skipped"
    assert "smoke_seconds ran out" in str(report.smoke.reason)
    given = options.model_copy(update={"input_shape": (2, 1, 4, 4, 4)})
    report = convlast.convert(module, tmp_path / "given.pt", given)
    assert report.smoke is not None
    assert (report.smoke.scope, report.smoke.status) == ("model", "skipped")


def test_a_model_without_results_to_compare_is_told_of(
    module: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its layers are run alone; where the whole model is asked for, that is refused."""
    monkeypatch.setattr(specimen, "outputs_of", lambda _result: {})  # as if it returned labels
    report = convlast.convert(module, tmp_path / "out.pt")
    assert report.smoke is not None
    assert (report.smoke.scope, report.smoke.status) == ("layers", "passed")
    assert "returns no floating-point tensor" in str(report.smoke.reason)
    with pytest.raises(OptionError, match="returns no floating-point tensor"):
        convlast.convert(module, tmp_path / "out.pt", Options(smoke="model"))


def test_without_a_limit_all_is_run(module: Path, tmp_path: Path) -> None:
    """`smoke_seconds=None` takes as long as it takes."""
    report = convlast.convert(module, tmp_path / "out.pt", Options(smoke_seconds=None))
    assert report.smoke is not None
    assert (report.smoke.status, report.smoke.reason) == ("passed", None)


def test_an_input_with_other_channels_is_refused(module: Path, tmp_path: Path) -> None:
    """What was asked for and cannot be done is an error that says what the model needs."""
    options = Options(input_shape=(1, 5, 6, 6, 6))
    with pytest.raises(OptionError, match=r"needs 1 channel\.") as refusal:
        convlast.convert(module, tmp_path / "out.pt", options)
    assert refusal.value.code == "invalid-option"
    assert "input_shape=1,1,6,6,6" in refusal.value.remedy
    assert not (tmp_path / "out.pt").exists()


def test_an_input_that_the_model_cannot_take_is_refused(module: Path, tmp_path: Path) -> None:
    """With what the model says."""
    with pytest.raises(OptionError, match=r"does not run on .*: RuntimeError: .*0 \(Conv3d\)"):
        convlast.convert(module, tmp_path / "out.pt", Options(input_shape=(2, 1, 1, 1, 1)))


def test_an_input_that_no_layer_can_take_is_refused(module: Path, tmp_path: Path) -> None:
    """If no layer can be run on the given input, nothing is tried, and that is an error too."""
    model = nn.Sequential(nn.Conv3d(4, 8, 3), nn.ReLU(), nn.Conv3d(8, 4, 3)).eval()
    torch.save(model, tmp_path / "model.pt")
    options = Options(smoke="layers", input_shape=(1, 4, 2, 2, 2))
    with pytest.raises(OptionError, match="too small for every kernel"):
        convlast.convert(tmp_path / "model.pt", tmp_path / "out.pt", options)


def test_an_input_has_to_fit_one_model_of_a_folder(tmp_path: Path) -> None:
    """A folder has several models, of which an input cannot fit all; it has to fit one."""
    folder = tmp_path / "models"
    folder.mkdir()
    for channels in (3, 4):
        model = nn.Sequential(nn.Conv3d(channels, 8, 3, padding=1)).eval()
        torch.save(model, folder / f"{channels}.pt")
    report = convlast.convert(folder, tmp_path / "out", Options(input_shape=(2, 4, 6, 6, 6)))
    smokes = {section.path: section.smoke for section in report.files}
    assert {path: smoke.scope for path, smoke in smokes.items() if smoke} == {
        "3.pt": "layers", "4.pt": "model",
    }  # fmt: skip
    assert smokes["3.pt"] is not None
    assert "needs 3 channels" in str(smokes["3.pt"].reason)
    with pytest.raises(OptionError, match="needs 3 channels"):
        convlast.convert(folder, tmp_path / "none", Options(input_shape=(2, 5, 6, 6, 6)))
    assert not (tmp_path / "none").exists()


def timing(speedup: float, spread: float = 0.01, **others: object) -> Timing:
    """Return a time that was measured on a GPU."""
    values = {"contiguous_s": speedup, "converted_s": 1.0, "representative": True, **others}
    return Timing.model_validate({"speedup": speedup, "spread": spread, **values})


def smoke_of(timing: Timing | None = None, **others: object) -> Smoke:
    """Return a smoke on a GPU."""
    values = {"scope": "model", "dtype": "float16", "device": "cuda:0", "status": "passed"}
    return Smoke.model_validate({**values, "timing": timing, **others})


def advice_on(smoke: Smoke) -> Advice:
    """Return the advice on a smoke."""
    return advise([], smoke, filename="m.pt", loading_code="torch.load({name!r})", wrapper=())


def test_a_missed_speedup_is_an_error() -> None:
    """It makes the verdict `failed`; one that is met says nothing."""
    found = next(of_speed(smoke_of(timing(1.1)), 1.5))
    assert (found.code, found.severity) == ("speedup-missed", "error")
    assert [finding.code for finding in of_speed(smoke_of(timing(1.6)), 1.5)] == [
        "kernels-not-seen"
    ]


def test_a_cpus_time_is_no_finding() -> None:
    """Whatever it is."""
    assert list(of_speed(smoke_of(timing(0.5, representative=False)), None)) == []


@pytest.mark.parametrize("measured", [None, timing(9.0, representative=False)])
def test_a_speedup_that_nobody_measured_is_told_of(measured: Timing | None) -> None:
    """It is not missed: memory that does not suffice for the model costs no artifact."""
    (found,) = of_speed(smoke_of(measured), 1.5)
    assert (found.code, found.severity) == ("speedup-not-measured", "warning")
    assert "no speed was measured" in found.message


def test_memory_that_never_suffices_costs_no_artifact(
    module: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Layers are run instead, and the report says why, even where the whole model was asked for."""

    def starve(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(inference, "smoke_model", starve)
    report = convlast.convert(module, tmp_path / "out.pt", Options(smoke="model"))
    assert (tmp_path / "out.pt").exists()
    assert report.smoke is not None
    assert report.smoke.scope == "layers"
    (told,) = (finding for finding in report.findings if finding.code == "model-not-run")
    assert "memory does not suffice" in told.message


def test_nothing_gained_and_unstable_are_told() -> None:
    """And slow fallbacks, by the layers that ran them."""
    slow = Dispatch(
        layer="stem", weights="contiguous", route="slow", kernels=["vol2col"], seconds=1.0
    )
    smoke = smoke_of(timing(0.9, stable=False), dispatch=[slow])
    codes = [finding.code for finding in of_speed(smoke, None)]
    assert codes == ["nothing-gained", "speed-unstable", "slow-convolution"]


@pytest.mark.parametrize(
    ("smoke", "decision", "words"),
    [
        (smoke_of(timing(1.4)), "convert", "1.40 times as fast"),
        (smoke_of(timing(0.8)), "keep", "gains nothing"),
        (smoke_of(timing(1.005)), "keep", "gains nothing"),
        (smoke_of(None), "undecided", "not measured"),
        (smoke_of(timing(0.8, representative=False)), "undecided", "not measured"),
    ],
)
def test_the_advice_follows_what_was_measured(smoke: Smoke, decision: str, words: str) -> None:
    """With the gain and its spread; a CPU's time counts for nothing."""
    found = advice_on(smoke)
    assert found.decision == decision
    assert words in found.reasons[0]


def test_some_are_advised_where_all_lose_and_a_layer_gains() -> None:
    """`select=fastest` would find it."""
    ran = [
        Dispatch(layer="conv", weights="contiguous", route="cudnn", kernels=[], seconds=2.0),
        Dispatch(layer="conv", weights="converted", route="cudnn", kernels=[], seconds=1.0),
    ]
    found = advice_on(smoke_of(timing(0.9), dispatch=ran))
    assert found.decision == "convert_some"
    assert "select=fastest" in found.reasons[0]


def test_layers_that_gain_less_than_the_operators_between_them_lose_are_no_advice() -> None:
    """If BatchNorm3d loses what the convolutions gain, some of them gain nothing either."""
    ran = [
        Dispatch(layer="conv", weights="contiguous", route="cudnn", kernels=[], seconds=2.0),
        Dispatch(layer="conv", weights="converted", route="cudnn", kernels=[], seconds=1.0),
    ]
    lost = OperatorTime(
        operator="aten::native_batch_norm", weights="converted", number=1, seconds=1.1
    )
    found = advice_on(smoke_of(timing(1.0), dispatch=ran, operators=[lost]))
    assert found.decision == "keep"
    assert "gains nothing here" in found.reasons[0]


@pytest.mark.parametrize("norm_s", [0.0008, 0.0017])
def test_operators_that_lose_what_the_convolutions_gain_are_named(norm_s: float) -> None:
    """Operators are mentioned if they lose more than 5 % of the time, and the worst is named."""

    def ran(weights: Literal["contiguous", "converted"], conv_s: float, own_s: float) -> Smoke:
        times = {"aten::native_batch_norm": own_s, "aten::add": 0.0001}
        return smoke_of(
            timing(1.01),
            dispatch=[Dispatch(
                layer="conv", weights=weights, route="cudnn", kernels=[], seconds=conv_s
            )],
            operators=[
                OperatorTime(operator=name, weights=weights, number=1, seconds=seconds)
                for name, seconds in times.items()
            ],
        )  # fmt: skip

    before, after = ran("contiguous", 0.003, 0.0008), ran("converted", 0.002, norm_s)
    found = advice_on(
        after.model_copy(
            update={
                "dispatch": before.dispatch + after.dispatch,
                "operators": before.operators + after.operators,
            }
        )
    )
    told = (
        "Converted, the convolutions take 1.00 ms less in a forward, but the other operators take "
        "0.90 ms more, aten::native_batch_norm most of it (0.90 ms)."
    )
    assert (told in found.reasons) is (norm_s > 0.001)


def test_settings_with_another_outcome_are_named() -> None:
    """A model that loses in fp16 and gains under autocast is told so; what is alike is not."""
    first, alike = timing(0.9), timing(0.95)
    autocast = timing(1.2).model_copy(update={"autocast": True, "input_shape": [8, 3, 16]})
    smoke = smoke_of(first).model_copy(update={"timings": [first, alike, autocast]})
    named = [reason for reason in advice_on(smoke).reasons if reason.startswith("Under")]
    assert named == [
        f"Under autocast, with an input of 8×3×16, it is 1.20 times as fast (± {first.spread:.2f})."
    ]


def test_a_choice_is_the_advice() -> None:
    """What `fastest` has chosen is what to do."""
    choice = Choice(chosen="some", layers=["a"], seconds={}, speedup=1.2, spread=0.01)
    assert advice_on(smoke_of(timing(1.2), choice=choice)).decision == "convert_some"


def test_reasons_name_who_breaks_the_chain_and_how_often() -> None:
    """The commonest kind first."""

    def broken(module: str, kind: str) -> Flip:
        return Flip(
            module=module, kind=kind, input_memory_format="channels_last_3d",
            output_memory_format="contiguous_format",
        )  # fmt: skip

    smoke = smoke_of(
        timing(1.4),
        flips=[broken("pool", "AvgPool3d"), broken("n1", "InstanceNorm3d"),
               broken("n2", "InstanceNorm3d")],
        permutations=Permutations(number=7, bytes=100, best_number=1, best_bytes=10),
    )  # fmt: skip
    (reason,) = (r for r in advice_on(smoke).reasons if "broken" in r)
    assert "2 × InstanceNorm3d (such as n1), 1 × AvgPool3d (such as pool)" in reason


def group_norms(tmp_path: Path, *, is_program: bool = False) -> Path:
    """Save a model with two GroupNorms between convolutions."""
    path = tmp_path / ("normed.pt2" if is_program else "normed.pt")
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv3d(3, 8, 3), nn.GroupNorm(4, 8), nn.Conv3d(8, 8, 3), nn.GroupNorm(4, 8)
    ).eval()
    if is_program:
        torch.export.save(torch.export.export(model, (torch.randn(2, 3, 8, 8, 8),)), path)
    else:
        torch.save(model, path)
    return path


@pytest.mark.parametrize("is_program", [False, True])
def test_what_cuda_does_to_the_layout_is_said_in_one_way(is_program: bool, tmp_path: Path) -> None:
    """Where GroupNorm breaks the chain on CUDA, the advice does not say that the layout stays."""
    source = group_norms(tmp_path, is_program=is_program)
    report = convlast.convert(source, tmp_path / "out", allow_programs=True)
    assert "layout-differs-on-cuda" in {finding.code for finding in report.findings}
    assert report.advice is not None
    words = " ".join(report.advice.reasons)
    assert "On CUDA the chain is broken by 2 × GroupNorm" in words
    assert "stays channels-last" not in words


def test_an_undone_layout_is_not_said_to_stay(tmp_path: Path) -> None:
    """With contiguous weights no activation is channels-last, and GroupNorm keeps nothing."""
    convlast.convert(group_norms(tmp_path), tmp_path / "converted", Options(smoke="none"))
    options = Options(memory_format="contiguous_format")
    report = convlast.convert(tmp_path / "converted", tmp_path / "undone", options)
    assert report.advice is not None
    assert not any("channels-last" in reason for reason in report.advice.reasons)
    assert "layout-differs-on-cuda" not in {finding.code for finding in report.findings}


def test_a_layout_that_stays_is_said_to_stay_where_it_was_tried(tmp_path: Path) -> None:
    """On a CPU the sentence names the CPU."""
    torch.save(nn.Sequential(nn.Conv3d(3, 8, 3), nn.Conv3d(8, 8, 3)).eval(), tmp_path / "m.pt")
    report = convlast.convert(tmp_path / "m.pt", tmp_path / "out.pt")
    assert report.advice is not None
    assert any(
        "stays channels-last on this CPU from the first" in each for each in report.advice.reasons
    )


def test_known_trouble_is_told_with_its_cure_and_source() -> None:
    """Each row of the table, by a device that it hits."""
    hit = {
        Device("2.8.0", 91002, (9, 0)): "cudnn-wrong-results",
        Device("2.10.0", 91002, (9, 0)): "cudnn-avoided",
        Device("2.13.0", None, (9, 0)): "no-cudnn",
        Device("2.13.0", 92000, (6, 1)): "no-tensor-cores",
    }
    for device, code in hit.items():
        (finding,) = of_troubles(troubles_of(device))
        assert isinstance(finding, Finding)
        assert (finding.code, finding.severity) == (code, "warning")
        assert "https://" in finding.message
    assert list(troubles_of(Device("2.13.0+cu130", 92000, (9, 0)))) == []
