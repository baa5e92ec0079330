"""NumPy's scalars beside a state dict, as nnU-Net stores them."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import convlast
from convlast.checkpoints.guard import numpy_values
from convlast.errors import UnsafeCheckpointError
from convlast.options import Options

QUIET = Options(smoke="none")


class Block(nn.Module):
    """A convolution that is registered twice, as in nnU-Net's blocks."""

    def __init__(self, channels: int, features: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(channels, features, 3, padding=1)
        self.norm = nn.InstanceNorm3d(features, affine=True)
        self.all_modules = nn.Sequential(self.conv, self.norm, nn.LeakyReLU())


class UNet(nn.Module):
    """An encoder, and a decoder that owns it as well."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(Block(1, 16), Block(16, 32))
        self.decoder = nn.Module()
        self.decoder.encoder = self.encoder
        self.decoder.transpconvs = nn.ModuleList([nn.ConvTranspose3d(32, 16, 2, 2)])
        self.decoder.seg_layers = nn.ModuleList([nn.Conv3d(16, 2, 1)])


def nnunet_checkpoint() -> dict[str, Any]:
    """Everything that nnU-Net's trainer saves, with its scalars."""
    network = UNet()
    optimizer = torch.optim.SGD(network.parameters(), 1e-2, momentum=0.99, nesterov=True)
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return {
        "network_weights": network.state_dict(),
        "optimizer_state": optimizer.state_dict(),
        "grad_scaler_state": {"scale": 65536.0, "growth_tracker": 3},
        "logging": {
            "mean_fg_dice": [np.float64(0.5), np.float32("nan"), np.float64("-0.0")],
            "dice_per_class_or_region": [[np.float64(0.25), np.float16(1)]],
            "epoch_end_timestamps": [1.5, np.int64(7), np.bool_(True), np.complex64(1j)],
        },
        "_best_ema": np.float64(0.7),
        "current_epoch": 3,
        "init_args": {"configuration": "3d_fullres", "fold": 0, "plans": {"spacing": [1.0, 2.0]}},
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": (0, 1, 2),
    }


def with_pickle(data: bytes, path: Path) -> Path:
    """Write a torch zip file around a pickle."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/version", "3\n")
    return path


def test_an_nnunet_checkpoint(tmp_path: Path) -> None:
    """The artifact is as large as the input except for its note, keeps aliases, and loads alike."""
    source, target = tmp_path / "checkpoint_final.pth", tmp_path / "out.pth"
    torch.save(nnunet_checkpoint(), source)
    report = convlast.convert(source, target)
    before = torch.load(source, weights_only=False)
    after = torch.load(target, weights_only=False)

    assert report.verdict == "passed"
    assert report.input.wrapper == "network_weights"
    with zipfile.ZipFile(target) as archive:
        note = archive.getinfo(f"{source.stem}/extra/convlast.json").file_size
    assert target.stat().st_size - source.stat().st_size < note + 1024
    assert repr({**before, "network_weights": 0}) == repr({**after, "network_weights": 0})
    assert type(after["_best_ema"]) is np.float64
    weights = after["network_weights"]
    assert weights["encoder.0.conv.weight"].stride()[1] == 1
    for one, other in (
        ("encoder.0.conv.weight", "encoder.0.all_modules.0.weight"),
        ("encoder.1.conv.weight", "decoder.encoder.1.all_modules.0.weight"),
    ):
        assert weights[one].data_ptr() == weights[other].data_ptr()
        assert weights[one].stride() == weights[other].stride()


def test_aliases_are_smoked_once_and_named(tmp_path: Path) -> None:
    """Each name of a convolution is in the report, with the first one's smoke."""
    torch.save(nnunet_checkpoint(), tmp_path / "in.pth")
    layers = convlast.convert(tmp_path / "in.pth", tmp_path / "out.pth").layers
    of_the_first = [
        layer for layer in layers if "encoder.0.conv.weight" in (layer.name, layer.alias_of)
    ]
    assert len(of_the_first) == 4
    assert [layer.alias_of is None for layer in of_the_first] == [True, False, False, False]
    assert {layer.status for layer in of_the_first} == {"converted"}
    assert all(layer.smoke == of_the_first[0].smoke is not None for layer in of_the_first)


def test_optimizer_moments_are_not_touched(tmp_path: Path) -> None:
    """The optimizer's moments, which are 5-D, stay contiguous."""
    torch.save(nnunet_checkpoint(), tmp_path / "in.pth")
    convlast.convert(tmp_path / "in.pth", tmp_path / "out.pth", QUIET)
    state = convlast.load(tmp_path / "out.pth")["optimizer_state"]["state"]
    moments = [entry["momentum_buffer"] for entry in state.values()]
    assert sum(moment.dim() == 5 for moment in moments) == 4
    assert all(moment.is_contiguous() for moment in moments)


def test_a_number_that_changes_is_seen(tmp_path: Path) -> None:
    """`verify` compares scalars by value and type, NaN with NaN."""
    root = nnunet_checkpoint()
    torch.save(root, tmp_path / "one.pth")
    torch.save(root | {"_best_ema": np.float64(0.8)}, tmp_path / "other.pth")
    torch.save(root | {"_best_ema": np.float32(0.7)}, tmp_path / "narrow.pth")
    assert convlast.verify(tmp_path / "one.pth", tmp_path / "one.pth").verdict == "passed"
    assert convlast.verify(tmp_path / "one.pth", tmp_path / "other.pth").verdict == "failed"
    assert convlast.verify(tmp_path / "one.pth", tmp_path / "narrow.pth").verdict == "failed"


def test_both_names_of_the_module_are_known(tmp_path: Path) -> None:
    """A file from NumPy 1 says `numpy.core`, one from NumPy 2 `numpy._core`."""
    buffer = io.BytesIO()
    torch.save(nn.Conv3d(2, 4, 3).state_dict() | {"loss": np.float64(1.5)}, buffer)
    with zipfile.ZipFile(buffer) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "in.pt", "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data.replace(b"numpy._core.", b"numpy.core."))
    convlast.convert(tmp_path / "in.pt", tmp_path / "out.pt", QUIET)
    assert convlast.load(tmp_path / "out.pt")["loss"] == 1.5


@pytest.mark.parametrize(
    ("arguments", "state"),
    [
        (("O", False, True), None),
        (("V8", False, True), None),
        (("M8", False, True), None),
        (("S1000000000", False, True), None),
        (([("a", "f8")],), None),
        (("f8", False, True), (3, ">", None, None, None, -1, -1, 0)),
        (("f8", False, True), (3, "<", None, None, None, 1 << 40, -1, 0)),
        (("f8", False, True), (3, "<", ("<f8", (9,)), None, None, -1, -1, 0)),
    ],
)
def test_other_types_are_refused(
    arguments: tuple[object, ...], state: tuple[object, ...] | None, tmp_path: Path
) -> None:
    """A dtype that is not of one plain number is refused by name before any is made."""
    body = b"cnumpy\ndtype\n" + pickle.dumps(arguments, 2)[2:-1] + b"R"
    if state is not None:
        body += pickle.dumps(state, 2)[2:-1] + b"b"
    path = with_pickle(b"\x80\x02" + body + b".", tmp_path / "hostile.pt")
    with pytest.raises(UnsafeCheckpointError) as refusal:
        convlast.inspect(path)
    assert refusal.value.names == ("numpy.dtype",)


@pytest.mark.parametrize("arguments", [((1 << 20,),), (b"x", b"y"), ("f8", b"12345678")])
def test_a_scalar_of_something_else(arguments: tuple[object, ...], tmp_path: Path) -> None:
    """The function that builds scalars may be called only with a dtype of numbers and bytes."""
    body = b"cnumpy.core.multiarray\nscalar\n" + pickle.dumps(arguments, 2)[2:-1] + b"R"
    path = with_pickle(b"\x80\x02" + body + b".", tmp_path / "hostile.pt")
    with pytest.raises(UnsafeCheckpointError, match=r"multiarray\.scalar"):
        convlast.inspect(path)


@pytest.mark.parametrize(
    "value",
    [
        np.datetime64("2024-01-01"),
        np.timedelta64(3, "s"),
        np.zeros(2, dtype=[("a", "i4"), ("b", "f8")]),
        np.array([{}], dtype=object),
        np.longdouble(1),
        np.arange(3, dtype=">i4"),
    ],
)
def test_what_is_refused_is_named_with_a_cure(value: object, tmp_path: Path) -> None:
    """The dtype is at fault, and not a value without a name."""
    torch.save({"model": nn.Conv3d(1, 1, 1).state_dict(), "extra": value}, tmp_path / "in.pt")
    with pytest.raises(UnsafeCheckpointError, match=r"numpy\.dtype is") as refusal:
        convlast.convert(tmp_path / "in.pt", tmp_path / "out.pt", QUIET)
    assert "Store NumPy's dates" in refusal.value.remedy


def test_without_numpy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without NumPy its names are refused, with the advice to install it."""
    torch.save(nnunet_checkpoint(), tmp_path / "in.pth")
    monkeypatch.setattr(numpy_values, "is_present", lambda: False)
    with pytest.raises(UnsafeCheckpointError, match="pip install numpy") as refusal:
        convlast.inspect(tmp_path / "in.pth")
    assert "numpy.dtype" in refusal.value.names
    assert numpy_values.safe_globals() == []
