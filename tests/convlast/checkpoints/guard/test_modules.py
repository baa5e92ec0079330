"""Pickled modules of `torch.nn`: which are read, how they are converted, and which are refused."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import convlast
from convlast.checkpoints.guard.modules import attributes_of, classes
from convlast.errors import ConvlastError, UnsafeCheckpointError, UnsupportedContainerError
from convlast.options import Options
from convlast.report import Report

QUIET = Options(smoke="none")

ARGUMENTS: list[tuple[Any, ...]] = [
    (), (4,), (4, 4), (4, 4, 3), (4, 4, 4, 3), (2, 4), (2, 2, 2), (3, [1, 2], 4), (4, 10, [2, 5]),
    (1, (2, 2)),
]  # fmt: skip
"""Arguments of which at least one set makes an object of each class."""


def a_model() -> nn.Sequential:
    """Convolutions with parameters that are not in a state dict."""
    return nn.Sequential(
        OrderedDict(
            first=nn.Conv3d(2, 4, 3, stride=2, padding=2, dilation=2, groups=2),
            norm=nn.BatchNorm3d(4),
            inner=nn.Sequential(
                nn.ConvTranspose3d(4, 4, 2, stride=2, groups=2), nn.LeakyReLU(0.2), nn.Dropout3d()
            ),
            last=nn.Conv3d(4, 2, 3, padding="same"),
        )
    )


def saved(root: object, path: Path) -> Path:
    """Save anything as torch does."""
    torch.save(root, path)
    return path


def with_pickle(data: bytes, path: Path) -> Path:
    """Write a torch zip file around a pickle."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/byteorder", "little")
        archive.writestr("archive/version", "3\n")
    return path


def made(cls: type[nn.Module]) -> nn.Module | None:
    """Make an object of a class with some arguments; None if none fit."""
    for arguments in ARGUMENTS:
        try:
            return cls(*arguments)
        except (TypeError, ValueError, RuntimeError, AssertionError):
            continue
    return None


def converted(root: object, folder: Path, options: Options = QUIET) -> tuple[Report, Path]:
    """Save and convert."""
    target = folder / "out.pt"
    return convlast.convert(saved(root, folder / "in.pt"), target, options), target


class _Reduced:
    """Pickles as a call of any function."""

    def __init__(self, *call: Any) -> None:
        self._call = call

    def __reduce__(self) -> tuple[Any, ...]:
        return self._call


def object_of(cls: type[nn.Module], state: object, arguments: object = ()) -> bytes:
    """Pickle a module as torch does, with any state."""
    name = f"c{cls.__module__}\n{cls.__qualname__}\n".encode()
    return b"\x80\x02" + name + inside(arguments) + b"\x81" + inside(state) + b"b."


def inside(root: object) -> bytes:
    """Return the opcodes between a pickle's first and last."""
    return pickled(root)[2:-1]


def pickled(root: object) -> bytes:
    """Pickle in torch's protocol."""
    buffer = io.BytesIO()
    pickle.Pickler(buffer, protocol=2).dump(root)
    return buffer.getvalue()


def refusal_of(pickle: bytes, folder: Path) -> ConvlastError:
    """Return the error that inspection raises."""
    path = with_pickle(pickle, folder / "hostile.pt")
    with pytest.raises(ConvlastError) as refusal:
        convlast.inspect(path)
    return refusal.value


def test_a_whole_model_is_converted_and_runs_alike(tmp_path: Path) -> None:
    """A converted model loads as the original does, with its outputs and PyTorch's own strides."""
    model = a_model().eval()
    report, target = converted(model, tmp_path)
    loaded = torch.load(target, weights_only=False)
    expected = nn.utils.convert_conv3d_weight_memory_format(model, torch.channels_last_3d)
    sample = torch.randn(2, 2, 6, 6, 6)

    assert report.verdict == "passed"
    assert {layer.status for layer in report.layers} == {"converted"}
    assert [value.stride() for value in loaded.state_dict().values()] == [
        value.stride() for value in expected.state_dict().values()
    ]
    torch.testing.assert_close(loaded(sample), model(sample), rtol=1e-4, atol=1e-4)


def test_the_module_tells_what_a_state_dict_does_not(tmp_path: Path) -> None:
    """A pickled module tells its kind and groups exactly, and the smoke assumes nothing."""
    report, _ = converted(a_model(), tmp_path, Options())
    facts = [(layer.name, layer.kind, layer.groups) for layer in report.layers]
    assert facts == [
        ("first.weight", "Conv3d", 2),
        ("inner.0.weight", "ConvTranspose3d", 2),
        ("last.weight", "Conv3d", 1),
    ]
    assert {layer.evidence for layer in report.layers} == {"the module itself"}
    assert [layer.smoke.assumed for layer in report.layers if layer.smoke] == [[], [], []]
    assert {layer.smoke.status for layer in report.layers if layer.smoke} == {"passed"}


def test_a_module_under_two_names_stays_one(tmp_path: Path) -> None:
    """A module under two names, as in nnU-Net, stays one object with one storage."""
    conv = nn.Conv3d(2, 4, 3)
    model = nn.ModuleDict({"conv": conv, "all": nn.Sequential(conv, nn.ReLU())})
    report, target = converted(model, tmp_path)
    loaded = convlast.load(target)
    assert [(layer.name, layer.alias_of) for layer in report.layers] == [
        ("conv.weight", None),
        ("all.0.weight", "conv.weight"),
    ]
    assert loaded["conv"] is loaded["all"][0]


def test_modules_beside_a_state_dict(tmp_path: Path) -> None:
    """A loss and a layer beside a state dict are kept unchanged."""
    root = {
        "state_dict": nn.Conv3d(2, 4, 3).state_dict(),
        "criterion": nn.CrossEntropyLoss(torch.tensor([1.0, 2.0])),
        "parallel": nn.DataParallel(nn.Conv3d(2, 4, 3)),
    }
    report, target = converted(root, tmp_path)
    loaded = convlast.load(target)
    assert [layer.name for layer in report.layers] == [
        "state_dict.weight",
        "parallel.module.weight",
    ]
    assert torch.equal(loaded["criterion"].weight, torch.tensor([1.0, 2.0]))
    assert loaded["parallel"].module.weight.stride()[1] == 1


def test_undo_and_verify(tmp_path: Path) -> None:
    """An undone conversion has the original's strides, and `verify` finds only the layout."""
    model = a_model()
    _, target = converted(model, tmp_path)
    back = tmp_path / "back.pt"
    convlast.convert(target, back, Options(smoke="none", memory_format="contiguous_format"))
    report = convlast.verify(tmp_path / "in.pt", target)
    assert report.verdict == "passed"
    assert {layer.status for layer in report.layers} == {"converted"}
    assert [value.stride() for value in convlast.load(back).state_dict().values()] == [
        value.stride() for value in model.state_dict().values()
    ]


def test_load_into_takes_a_whole_module(tmp_path: Path) -> None:
    """`load_into` loads a pickled module's state dict into another one, and keeps the layout."""
    _, target = converted(a_model(), tmp_path)
    fresh = convlast.load_into(a_model(), target)
    assert fresh.get_parameter("first.weight").stride()[1] == 1


def test_the_artifact_is_the_same_each_time(tmp_path: Path) -> None:
    """The same input gives the same bytes."""
    source = saved(a_model(), tmp_path / "in.pt")
    for name in ("one.pt", "two.pt"):
        convlast.convert(source, tmp_path / name, QUIET)
    assert (tmp_path / "one.pt").read_bytes() == (tmp_path / "two.pt").read_bytes()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sorted(classes()))
def test_every_class_is_read_as_torch_saves_it(name: str, tmp_path: Path) -> None:
    """An object of each known class, in all its attributes, passes the guard beside a weight."""
    module = made(classes()[name]) if "DataParallel" not in name else nn.DataParallel(nn.ReLU())
    assert module is not None
    root = {"state_dict": nn.Conv3d(2, 4, 3).state_dict(), "module": module}
    report, target = converted(root, tmp_path)
    assert report.verdict == "passed"
    assert type(convlast.load(target)["module"]) is classes()[name]


@pytest.mark.parametrize("name", sorted(classes()))
def test_no_attribute_hides_what_a_class_has(name: str) -> None:
    """No attribute that may be set is a method, a property or an attribute of the class."""
    assert {
        attribute for attribute in attributes_of(name) if hasattr(classes()[name], attribute)
    } == set()
    assert {"forward", "__class__", "_call_impl", "__call__"}.isdisjoint(attributes_of(name))


def test_a_constructor_is_never_called(tmp_path: Path) -> None:
    """A pickle that calls a class, which could make a tensor of any size, is refused."""
    error = refusal_of(pickled([_Reduced(nn.Linear, (1 << 14, 1 << 14))]), tmp_path)
    assert isinstance(error, UnsafeCheckpointError)
    assert error.names == ("torch.nn.modules.linear.Linear",)


HOSTILE_STATES: dict[str, Any] = {
    "a forward": {"forward": torch.device("cpu")},
    "a method": {"_call_impl": 1},
    "a property of the class": {"__class__": 1},
    "an unknown attribute": {"surprise": 1},
    "a hook": {"_forward_hooks": OrderedDict({0: nn.ReLU()})},
    "a hook before": {"_forward_pre_hooks": OrderedDict({0: 1})},
    "hooks that are no dict": {"_forward_hooks": [nn.ReLU()]},
    "a module as a number": {"stride": nn.ReLU()},
    "a class as a number": {"stride": (nn.ReLU,)},
    "a function as a number": {"stride": torch._utils._rebuild_tensor_v2},
    "a number as a module": {"_modules": {"0": 1}},
    "a module as a parameter": {"_parameters": {"weight": nn.ReLU()}},
    "modules without names": {"_modules": {0: nn.ReLU()}},
    "a state that is no dict": [1],
    "an attribute that is no name": {1: 2},
}


@pytest.mark.parametrize("state", HOSTILE_STATES)
def test_hostile_states(state: str, tmp_path: Path) -> None:
    """An attribute that is not PyTorch's own, or holds more than data, is refused."""
    error = refusal_of(object_of(nn.Conv3d, HOSTILE_STATES[state]), tmp_path)
    assert isinstance(error, UnsafeCheckpointError)
    assert error.names == ("torch.nn.modules.conv.Conv3d",)


@pytest.mark.parametrize(
    "state",
    [
        {"_buffers": {"other": torch.zeros(2, 2, 1, 1, 1)}},
        {"_parameters": {"weight": torch.zeros(2, 2, 1, 1, 1)}},
        {
            "_parameters": {"weight": torch.zeros(2, 2, 1, 1, 1)},
            "groups": 10**9,
            "stride": (10**9, 1, 1),
            "padding": "same",
        },
    ],
)
def test_a_module_that_lacks_or_exaggerates(state: dict[str, Any], tmp_path: Path) -> None:
    """An attribute that a module lacks, or that makes no sense, counts as unknown."""
    module = nn.Conv3d.__new__(nn.Conv3d)
    vars(module).update({"_modules": {}, "_buffers": {}, "_parameters": {}} | state)
    root = {"conv": nn.Conv3d(2, 4, 3).state_dict(), "module": module}
    report, _ = converted(root, tmp_path, Options())
    assert report.verdict == "passed"
    assert {layer.groups for layer in report.layers} == {None}


def test_a_hook_that_is_put_there_late(tmp_path: Path) -> None:
    """A hook is found in a dict that was filled only after an object got it."""
    conv = b"ctorch.nn.modules.conv\nConv3d\n)\x81"
    data = (
        b"\x80\x02}q\x00" + conv + b"}X\x0e\x00\x00\x00_forward_hooksh\x00sb"
        b"h\x00X\x01\x00\x00\x00aK\x01s\x86."
    )
    with pytest.raises(UnsafeCheckpointError, match="_forward_hooks"):
        convlast.inspect(with_pickle(data, tmp_path / "late.pt"))


def test_a_value_that_is_taken_away_again(tmp_path: Path) -> None:
    """A value that an object had at first is judged, even if it is replaced later."""
    conv = b"ctorch.nn.modules.conv\nConv3d\n)\x81"
    data = (
        b"\x80\x02" + conv + b"}q\x00X\x06\x00\x00\x00stridectorch\ndevice\nsb"
        b"h\x00X\x06\x00\x00\x00strideK\x01s\x86."
    )
    with pytest.raises(UnsafeCheckpointError, match="stride"):
        convlast.inspect(with_pickle(data, tmp_path / "replaced.pt"))


@pytest.mark.parametrize("handed", [nn.Linear, nn.Upsample(size=1 << 12)])
def test_nothing_known_is_handed_to_a_function(handed: object, tmp_path: Path) -> None:
    """Neither a class nor a module may be passed to PyTorch's functions, which could call it."""
    arguments = [(1 << 14, 1 << 14)]
    call = _Reduced(torch._tensor._rebuild_from_type_v2, (handed, torch.Tensor, arguments, {}))
    error = refusal_of(pickled([call]), tmp_path)
    assert isinstance(error, UnsafeCheckpointError)


def test_arguments_for_a_new_object(tmp_path: Path) -> None:
    """A module that is made with arguments, as PyTorch never does, is refused."""
    error = refusal_of(object_of(nn.Conv3d, {}, (1 << 14,)), tmp_path)
    assert isinstance(error, UnsafeCheckpointError)


class _Mine(nn.Conv3d):
    """A class that is not one of PyTorch's."""


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (_Mine(1, 1, 1), "_Mine"),
        (nn.LSTM(2, 2), "torch.nn.modules.rnn.LSTM"),
        (nn.utils.weight_norm, "torch.nn.utils.weight_norm.weight_norm"),
        (nn.TransformerEncoderLayer(4, 2), "TransformerEncoderLayer"),
    ],
)
def test_other_classes_are_refused_by_name(module: object, name: str, tmp_path: Path) -> None:
    """A class that is not known is refused by its name."""
    with pytest.raises(UnsafeCheckpointError, match=name):
        convlast.inspect(saved({"conv": nn.Conv3d(1, 1, 1), "other": module}, tmp_path / "in.pt"))


def test_lazy_convolutions_are_refused_by_name(tmp_path: Path) -> None:
    """A LazyConv3d, which has no weight yet, is refused by name, and so is its state dict."""
    lazy = nn.LazyConv3d(4, 3)
    for root, name in ((lazy, "LazyConv3d"), (lazy.state_dict(), "UninitializedParameter")):
        with pytest.raises(ConvlastError, match=name):
            convlast.inspect(saved(root, tmp_path / "lazy.pt"))


def test_a_module_in_the_legacy_format(tmp_path: Path) -> None:
    """A module in the legacy format, which contains source code, is refused with what to do."""
    path = tmp_path / "legacy.pt"
    torch.save(nn.Conv3d(1, 1, 1), path, _use_new_zipfile_serialization=False)
    with pytest.raises(UnsupportedContainerError, match="whole module"):
        convlast.inspect(path)


def test_a_module_that_contains_itself(tmp_path: Path) -> None:
    """A module that contains itself is refused without a recursion."""
    model = nn.Sequential(nn.Conv3d(1, 1, 1))
    model._modules["self"] = model
    with pytest.raises(ConvlastError, match="themselves"):
        convlast.inspect(saved(model, tmp_path / "cycle.pt"))


def test_what_the_caller_allowed_stays_allowed(tmp_path: Path) -> None:
    """PyTorch's list of safe globals is restored, including classes that the caller has added."""
    with torch.serialization.safe_globals([nn.Conv3d]):
        before = torch.serialization.get_safe_globals()
        converted(a_model(), tmp_path)
        after = torch.serialization.get_safe_globals()
    assert nn.Conv3d in after
    assert len(before) == len(after)


@pytest.mark.shared
def test_deeprank(shared_checkpoints: Path, tmp_path: Path) -> None:
    """A real checkpoint with a loss beside its state dict is converted, and keeps the loss."""
    target = tmp_path / "out.pt"
    report = convlast.convert(
        shared_checkpoints / "deeprank_needs_loss_class.pt", target, Options()
    )
    assert report.verdict == "passed"
    assert [layer.status for layer in report.layers] == ["converted", "converted"]
    assert isinstance(convlast.load(target)["criterion"], nn.CrossEntropyLoss)
