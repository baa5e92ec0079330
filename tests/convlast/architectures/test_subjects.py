from __future__ import annotations

import warnings
from collections import OrderedDict
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import convlast
from convlast.architectures import Case, Spec, Subject, find_subject
from convlast.containers import open_checkpoint
from convlast.errors import ArchitectureMismatchError, ArchitectureNotAllowedError, OptionError
from convlast.options import Options
from convlast.planning.applying import apply_strides
from convlast.planning.plan import make_plan
from tests.builders import save, save_exported_program, save_safetensors

pytestmark = pytest.mark.usefixtures("fakenets")

NET = "fakenets.nets.Net"


def net(name: str = "plain.Net", **options: Any) -> nn.Module:
    """Make a model of the fake package, with values other than its initial ones."""
    module, _, last = f"fakenets.nets.{name}".rpartition(".")
    torch.manual_seed(7)
    model: nn.Module = getattr(import_module(module), last)(**options)
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.is_floating_point() and tensor.dim():
            nn.init.uniform_(tensor, 0.5, 1.0)
    return model.eval()


def subject_of(path: Path, spec: Spec | None = None, **options: Any) -> Subject | None:
    """Find the subject of a file, after the plan was applied; the default input is 6³."""
    options.setdefault("input_shape", "1,2,6,6,6")
    checkpoint = open_checkpoint(path, allow_programs=True)
    plan = make_plan(checkpoint, "channels_last_3d")
    apply_strides(plan)
    asked = Options.parse(**options)
    return find_subject(Case(checkpoint, plan, asked, prefixes=["fakenets.nets"], spec=spec))


def found(path: Path, spec: Spec | None = None, **options: Any) -> Subject:
    """Find the subject of a file that has one."""
    subject = subject_of(path, spec, **options)
    assert subject is not None
    return subject


def result_of(subject: Subject, batch: int = 2) -> Tensor:
    """Run a subject."""
    inputs = subject.make_inputs(batch)
    module = subject.make_module()
    method = module if subject.entry == "forward" else getattr(module, subject.entry)
    with torch.no_grad():
        result: Tensor = method(*inputs.args, **inputs.kwargs)
    return result


def agree(subject: Subject, model: nn.Module) -> None:
    """Assert that a subject gives the outputs of the model that was saved."""
    inputs = subject.make_inputs(2)
    with torch.no_grad():
        assert torch.equal(result_of(subject), model(*inputs.args, **inputs.kwargs))


@pytest.mark.parametrize("name", ["Net", "plain.Net", "make", "odd.make"])
def test_a_named_model_has_the_values_of_the_file(tmp_path: Path, name: str) -> None:
    """A named model gives, bit for bit, the outputs of the model that was saved."""
    model = net()
    path = save(model.state_dict(), tmp_path / "m.pt")

    subject = found(path, architecture=f"fakenets.nets.{name}")

    agree(subject, model)
    assert subject.name == f"fakenets.nets.{name}"
    assert (subject.origin, subject.entry) == ("architecture option", "forward")
    assert subject.takes_hooks
    convolutions = ("first.weight", "rest.0.weight", "last.weight")
    assert subject.weights == {key: key for key in convolutions}


def test_a_module_is_fresh_plain_and_fp32(tmp_path: Path) -> None:
    """Modules are contiguous and fp32 for any dtype and layout of the file, and share nothing."""
    model = net().to(torch.float16)
    state_dict = model.state_dict()
    state_dict["first.weight"] = state_dict["first.weight"].to(memory_format=torch.channels_last_3d)
    subject = found(save(state_dict, tmp_path / "m.pt"), architecture=NET)

    first, second = subject.make_module(), subject.make_module()

    for (key, one), two in zip(first.named_parameters(), second.parameters(), strict=True):
        assert one.dtype == torch.float32
        assert one.device.type == "cpu"
        assert one.stride() == torch.empty(one.shape).stride()
        assert one.data_ptr() != two.data_ptr()
        assert torch.equal(one, state_dict[key].float())
    assert not any(module.training for module in first.modules())


def test_a_batch_is_the_same_each_time_and_begins_like_a_smaller_one(tmp_path: Path) -> None:
    """A batch is the same each time, and begins with the smaller batch."""
    path = save(net().state_dict(), tmp_path / "m.pt")
    subject = found(path, architecture=NET, input_shape="3,2,5,6,7")

    (one,), (two,), (again,) = (subject.make_inputs(n).args for n in (1, 2, 2))

    assert isinstance(one, Tensor)
    assert isinstance(two, Tensor)
    assert isinstance(again, Tensor)
    assert two.shape == (2, 2, 5, 6, 7)
    assert torch.equal(two, again)
    assert torch.equal(two[:1], one)
    assert two.is_contiguous()


@pytest.mark.parametrize("prefix", ["module.", "model.", "module._orig_mod.", "net."])
def test_what_wraps_a_model_is_taken_off(tmp_path: Path, prefix: str) -> None:
    """The prefixes of wrappers are removed, but the plan's names are still the file's."""
    model = net()
    wrapped = {prefix + key: value for key, value in model.state_dict().items()}
    path = save({"epoch": 1, "state_dict": wrapped}, tmp_path / "m.pt")

    subject = found(path, architecture=NET)

    agree(subject, model)
    assert subject.weights[f"{prefix}first.weight"] == "first.weight"


def test_safetensors_do(tmp_path: Path) -> None:
    """A named model is found for safetensors too."""
    model = net()
    path = save_safetensors(dict(model.state_dict()), tmp_path / "m.safetensors")
    agree(found(path, architecture=NET), model)


def test_options_are_given(tmp_path: Path) -> None:
    """The options are passed as keyword arguments."""
    model = net(features=6, classes=3)
    path = save(model.state_dict(), tmp_path / "m.pt")
    options = '{"features": 6, "classes": 3}'
    agree(found(path, architecture=NET, architecture_options=options), model)


@pytest.mark.parametrize("name", ["Constant", "Tied"])
def test_odd_models_are_built(tmp_path: Path, name: str) -> None:
    """Models that compute while they are built, or that use a parameter twice, are built."""
    model = net(f"odd.{name}")
    if name == "Constant":
        nn.init.constant_(model.get_buffer("shift"), 3.0)
    subject = found(
        save(model.state_dict(), tmp_path / "m.pt"), architecture=f"fakenets.nets.odd.{name}"
    )

    agree(subject, model)
    made: Any = subject.make_module()
    assert name != "Tied" or made.last.weight is made.rest[0].weight


def test_a_buffer_that_nobody_writes_is_the_same_each_time(tmp_path: Path) -> None:
    """Its values are zero, not what the allocator left there."""
    torch.empty(4096).fill_(7e4)
    path = save(net().state_dict(), tmp_path / "m.pt")
    subject = found(path, architecture="fakenets.nets.odd.Careless")
    assert not subject.make_module().get_buffer("room").any()


def test_weights_are_not_fetched(tmp_path: Path) -> None:
    """A default that would fetch weights is overridden."""
    path = save(net().state_dict(), tmp_path / "m.pt")
    assert found(path, architecture="fakenets.nets.odd.Fetching").entry == "forward"


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("odd.Huge", {}),
        ("odd.Endless", {}),
        ("plain.Net", {"features": 1 << 20}),
        ("plain.Net", {"depth": 1 << 30}),
    ],
)
def test_a_model_much_larger_than_the_file_is_refused(
    tmp_path: Path, name: str, options: dict[str, Any]
) -> None:
    """A model much larger than the file is refused before memory or time is spent on it."""
    path = save(net().state_dict(), tmp_path / "m.pt")
    with pytest.raises(ArchitectureMismatchError, match="much larger than the checkpoint"):
        subject_of(path, architecture=f"fakenets.nets.{name}", architecture_options=options)


def test_a_state_dict_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    """If a state dict does not fit, missing and unexpected keys and other shapes are listed."""
    state_dict = net().state_dict()
    state_dict["head.weight"] = state_dict.pop("last.weight")
    state_dict["first.bias"] = torch.zeros(5)
    path = save(OrderedDict(state_dict), tmp_path / "m.pt")

    with pytest.raises(ArchitectureMismatchError, match="does not fit fakenets") as refusal:
        subject_of(path, architecture=NET)

    assert refusal.value.details == {
        "missing": ["last.weight"],
        "unexpected": ["head.weight"],
        "shapes": ["first.bias: [5] in the file, [4] in the model"],
    }


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        (NET, {"architecture_options": {"colour": "red"}}, "unexpected keyword argument"),
        (NET, {"entry_point": "encode"}, "no method 'encode'. It has forward, decode"),
        ("fakenets.nets.odd.number", {}, "made a int, not a model"),
        ("fakenets.nets.odd.Wanting", {}, "needs 'atlas'"),
        ("fakenets.nets.odd.Asking", {}, "needs 'encoder_hidden_states'"),
        ("fakenets.nets.odd.Exploding", {}, "larger than .* bytes"),
    ],
)
def test_what_cannot_be_built_or_run_is_told(
    tmp_path: Path, name: str, options: dict[str, Any], reason: str
) -> None:
    """A model that cannot be built or run is an invalid option, with what to change."""
    path = save(net().state_dict(), tmp_path / "m.pt")
    with pytest.raises(OptionError, match=reason):
        subject_of(path, architecture=name, input_shape=None, **options)


def test_an_entry_point_is_taken(tmp_path: Path) -> None:
    """An entry point gets an input with the channels of its first convolution."""
    model = net(features=2)
    path = save(model.state_dict(), tmp_path / "m.pt")
    options: dict[str, Any] = {"architecture": NET, "architecture_options": {"features": 2}}

    subject = found(path, **options, entry_point="decode", input_shape=None)

    assert subject.entry == "decode"
    assert result_of(subject).shape[1] == 2


def test_an_input_is_found_where_one_size_alone_runs(tmp_path: Path) -> None:
    """For a model that runs on one size only, that size is found."""
    path = save(net("odd.Picky").state_dict(), tmp_path / "m.pt")
    subject = found(path, architecture="fakenets.nets.odd.Picky", input_shape=None)
    assert result_of(subject).shape == (2, 2 * 24**3)


def test_a_config_says_what_the_model_is(tmp_path: Path) -> None:
    """A config describes the model, and may have options that the class does not take."""
    model = net(features=6)
    path = save(model.state_dict(), tmp_path / "m.pt")
    spec = Spec(NET, {"features": 6, "sample_rate": 3}, "config.json", True)

    subject = found(path, spec)

    agree(subject, model)
    assert subject.origin == "config.json"


def test_a_config_cannot_name_what_an_option_could_not(tmp_path: Path) -> None:
    """The allow-list applies to configs as well as to the option."""
    path = save(net().state_dict(), tmp_path / "m.pt")
    with pytest.raises(ArchitectureNotAllowedError):
        subject_of(path, Spec("os.system", {"command": "true"}))


def test_a_config_that_cannot_be_used_says_why(tmp_path: Path) -> None:
    """A config that cannot be used raises only if it is needed."""
    path = save(net().state_dict(), tmp_path / "m.pt")
    obstacle = ArchitectureNotAllowedError("It wants code.")
    with pytest.raises(ArchitectureNotAllowedError, match="It wants code"):
        subject_of(path, Spec("", obstacle=obstacle))
    assert found(path, Spec("", obstacle=obstacle), architecture=NET).name == NET


def test_plans_in_the_checkpoint_say_what_the_model_is(tmp_path: Path) -> None:
    """The plans that nnU-Net stores in a checkpoint describe its model."""
    path = save(
        {
            "network_weights": net().state_dict(),
            "init_args": {
                "configuration": "c",
                "plans": {
                    "configurations": {
                        "c": {
                            "architecture": {
                                "network_class_name": "fakenets.nets.odd.Planned",
                                "arch_kwargs": {"conv_op": "torch.nn.modules.conv.Conv3d"},
                            }
                        }
                    }
                },
                "dataset_json": {"channel_names": {"0": "CT"}, "labels": {"a": 0, "b": 1}},
            },
        },
        tmp_path / "m.pt",
    )
    assert found(path).origin == "plans of nnU-Net"


def test_a_state_dict_alone_says_nothing(tmp_path: Path) -> None:
    """A state dict alone has no subject, and that is no error."""
    assert subject_of(save(net().state_dict(), tmp_path / "m.pt")) is None


@pytest.mark.parametrize("is_wrapped", [False, True])
def test_a_pickled_module_runs(tmp_path: Path, is_wrapped: bool) -> None:
    """A pickled module runs, and its tied weights stay tied."""
    shared = nn.Conv3d(4, 4, 3, padding=1)
    model = nn.Sequential(nn.Conv3d(2, 4, 1), shared, nn.BatchNorm3d(4), shared).eval()
    path = save({"model": model} if is_wrapped else model, tmp_path / "m.pt")

    subject = found(path)

    agree(subject, model)
    made: Any = subject.make_module()
    assert subject.name == "pickled module"
    assert made[1] is made[3]
    assert set(subject.weights.values()) <= {
        n for n, _ in made.named_parameters(remove_duplicate=False)
    }


def test_a_pickled_module_is_not_run_on_what_is_too_large(tmp_path: Path) -> None:
    """A pickled module whose padding makes a small input huge is not run."""
    path = save(nn.Sequential(nn.Conv3d(1, 1, 3, padding=30_000)), tmp_path / "m.pt")
    with pytest.raises(OptionError, match="larger than"):
        subject_of(path, input_shape=None)


class Voxels(nn.Module):
    """A model for one input size, as voxel networks are."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(3, 4, 3)
        self.linear = nn.Linear(4 * 14**3, 2)

    def forward(self, x: Tensor) -> Any:
        """Convolve and flatten."""
        return self.linear(self.conv(x).flatten(1))


def save_script(path: Path, **buffers: Tensor) -> Path:
    """Write a TorchScript program, with buffers that it does not use."""
    jit: Any = torch.jit  # whose functions are not annotated
    model = Voxels().eval()
    for name, buffer in buffers.items():
        model.register_buffer(name, buffer)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated, and still sent
        jit.save(jit.script(model), path)
    return path


def test_torchscript_runs(tmp_path: Path) -> None:
    """TorchScript runs on a size that is found, without hooks."""
    subject = found(save_script(tmp_path / "m.pt"), input_shape=None)
    made: Any = subject.make_module()

    assert (subject.name, subject.takes_hooks) == ("torchscript", False)
    assert subject.weights == {"conv.weight": "conv.weight"}
    assert made.conv.weight.stride() == torch.empty(4, 3, 3, 3, 3).stride()
    assert result_of(subject).shape == (2, 2)


def test_torchscript_with_a_sparse_tensor_is_not_run(tmp_path: Path) -> None:
    """Its layers are run one by one instead."""
    path = save_script(tmp_path / "m.pt", mask=torch.eye(3).to_sparse())
    with pytest.raises(OptionError, match="sparse"):
        found(path, input_shape=None)
    report = convlast.convert(path, tmp_path / "made.pt", allow_programs=True)
    assert report.smoke is not None
    assert (report.smoke.scope, report.verdict) == ("layers", "passed")


def test_an_exported_program_runs_on_its_own_inputs(tmp_path: Path) -> None:
    """An exported program with a fixed batch size gets that batch size."""
    subject = found(save_exported_program(tmp_path / "m.pt2"), input_shape=None)
    (one,), (two,) = (subject.make_inputs(n).args for n in (1, 2))

    assert (subject.name, subject.takes_hooks) == ("exported program", False)
    assert isinstance(one, Tensor)
    assert isinstance(two, Tensor)
    assert torch.equal(one, two)
    assert result_of(subject).shape[0] == one.shape[0]
    assert subject.weights


class Scaling(nn.Module):
    """A model with two inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(2, 4, 3)

    def forward(self, x: Tensor, scale: Tensor) -> Any:
        """Convolve and scale."""
        return self.conv(x) * scale


def test_a_program_of_several_inputs_and_any_batch_runs(tmp_path: Path) -> None:
    """A program for any batch size gets the requested one; its other input stays the same."""
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(
        Scaling().eval(),
        (torch.randn(2, 2, 6, 6, 6), torch.ones(1)),
        dynamic_shapes=({0: batch}, None),
    )
    torch.export.save(program, tmp_path / "m.pt2")

    subject = found(tmp_path / "m.pt2", input_shape=None)

    assert result_of(subject, 5).shape[0] == 5
    scale = subject.make_inputs(5).args[1]
    assert isinstance(scale, Tensor)
    assert scale.shape == (1,)
    assert subject.weights == {"conv.weight": "conv.weight"}


def test_a_program_takes_no_architecture(tmp_path: Path) -> None:
    """A program, which contains its model, takes no architecture."""
    with pytest.raises(OptionError, match="contains its model"):
        subject_of(save_script(tmp_path / "m.pt"), architecture=NET)


@pytest.mark.shared
def test_the_program_of_gnina_runs_on_the_grid_it_is_made_for(shared_checkpoints: Path) -> None:
    """The only size that gnina's program runs on is found."""
    subject = found(shared_checkpoints / "gnina_default2017_torchscript.pt", input_shape=None)
    (grid,) = subject.make_inputs(2).args
    assert isinstance(grid, Tensor)
    assert grid.shape == (2, 35, 48, 48, 48)
