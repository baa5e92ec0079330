"""What goes in and what comes out: a test for each row of docs/reference/containers.md."""

from __future__ import annotations

import argparse
import collections
import json
import re
import shutil
import sys
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn.modules.utils import consume_prefix_in_state_dict_if_present
from torch.nn.utils import parametrizations, parametrize
from torch.optim.swa_utils import AveragedModel

import convlast
from convlast.errors import UnsafeCheckpointError
from convlast.options import Options
from tests import builders
from tests.exactness import strides_by_pytorch

QUIET = Options(smoke="none")
AS_SAFETENSORS = Options(smoke="none", container="safetensors")

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "containers.md").read_text()


def rows_of(heading: str) -> list[str]:
    """Return the first cells of the page's table whose first column has this heading."""
    table = re.search(rf"^\| {heading} \|.*\n\|[-|]+\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    assert table is not None
    return [line.split(" | ")[0].removeprefix("| ") for line in table[1].splitlines()]


def network() -> nn.Sequential:
    """Return what is saved: two convolutions that have other strides in each layout."""
    return nn.Sequential(nn.Conv3d(3, 4, 3), nn.BatchNorm3d(4), nn.Conv3d(4, 2, 3))


def saved() -> dict[str, Any]:
    """Return a state dict."""
    return network().state_dict()


def assert_laid_out(module: nn.Module, keys: tuple[str, ...] = ("0.weight", "2.weight")) -> None:
    """Check that these weights have exactly the strides of PyTorch's function."""
    weights = dict(module.named_parameters())  # a ScriptModule has no get_parameter
    for weight in map(weights.__getitem__, keys):
        assert weight.stride() == strides_by_pytorch(weight) != weight.contiguous().stride()


def assigned(state_dict: Any) -> nn.Module:
    """Return a network with these tensors in the place of its own."""
    module = network()
    module.load_state_dict(state_dict, assign=True)
    return module


@dataclass(frozen=True)
class Container:
    """A row of the table of containers.

    Attributes:
        save: Writes a network there, and returns what is sent.
        artifact: What kind of file is made of it.
        routes: The ways of loading that the row names.
        options: What is asked for.
    """

    save: Callable[[Path], Path]
    artifact: str
    routes: tuple[Callable[[Path], nn.Module], ...]
    options: Options = QUIET


def save_script(path: Path) -> Path:
    """Write a TorchScript program."""
    jit: Any = torch.jit  # whose functions are not annotated
    jit.save(jit.trace(network().eval(), torch.ones(2, 3, 6, 6, 6)), path)
    return path


def save_program(path: Path) -> Path:
    """Write an ExportedProgram with its example input."""
    program = torch.export.export(network().eval(), (torch.ones(2, 3, 6, 6, 6),))
    torch.export.save(program, path)
    return path


def save_shards(folder: Path, extension: str) -> Path:
    """Write a state dict in two files, and their index."""
    folder.mkdir()
    state_dict = saved()
    places = {key: f"{key[0]}{extension}" for key in state_dict}
    save = builders.save_safetensors if extension == ".safetensors" else builders.save
    for name in set(places.values()):
        save({key: state_dict[key] for key in places if places[key] == name}, folder / name)
    index = folder / f"model{extension}.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return index


def save_folder(folder: Path) -> Path:
    """Write what `save_pretrained` does: weights and a configuration."""
    folder.mkdir()
    builders.save_safetensors(saved(), folder / "model.safetensors")
    (folder / "config.json").write_text("{}")
    return folder


def save_archive(folder: Path, kind: str) -> Path:
    """Write an archive of a model folder."""
    return Path(shutil.make_archive(str(folder), kind, save_folder(folder)))


def unpacked(archive: Path, kind: str) -> Path:
    """Unpack an archive beside it."""
    folder = archive.with_name("unpacked")
    shutil.unpack_archive(archive, folder, kind, filter=None if kind == "zip" else "data")
    return folder


def from_script(path: Path) -> nn.Module:
    """Load a TorchScript program."""
    jit: Any = torch.jit  # whose functions are not annotated
    module: nn.Module = jit.load(path)
    return module


def from_safetensors(path: Path) -> nn.Module:
    """Load without a thought, and apply the layout afterwards."""
    file = path / "model.safetensors" if path.is_dir() else path
    module = network()
    module.load_state_dict(load_file(file))
    return convlast.apply_layout(module, path)


BY_TORCH = (
    lambda path: assigned(torch.load(path, weights_only=True)),
    lambda path: convlast.load_into(network(), path),
)

CONTAINERS: dict[str, Container] = {
    "torch zip (`torch.save` since 1.6)": Container(
        lambda path: builders.save(saved(), path), "torch", BY_TORCH
    ),
    "torch legacy (before 1.6)": Container(
        lambda path: builders.save_legacy(saved(), path), "torch", BY_TORCH
    ),
    "safetensors": Container(
        lambda path: builders.save_safetensors(saved(), path), "torch", BY_TORCH
    ),
    "safetensors, with `container=safetensors`": Container(
        lambda path: builders.save_safetensors(saved(), path),
        "safetensors",
        (
            lambda path: assigned(convlast.load(path)),
            lambda path: convlast.load_into(network(), path),
            from_safetensors,
        ),
        AS_SAFETENSORS,
    ),
    "modules made of `torch.nn` classes, alone or beside a state dict (zip format)": Container(
        lambda path: builders.save(network(), path),
        "torch",
        (convlast.load, lambda path: convlast.load_into(network(), path)),
    ),
    "TorchScript": Container(save_script, "torchscript", (from_script,)),
    "ExportedProgram (`.pt2`)": Container(
        save_program, "program", (lambda path: torch.export.load(path).module(),)
    ),
    "sharded safetensors: the index, its shards beside it": Container(
        lambda folder: save_shards(folder, ".safetensors"),
        "folder",
        (
            lambda folder: convlast.load_into(network(), folder),
            lambda folder: convlast.apply_layout(network(), folder),
        ),
    ),
    "sharded torch files: the index, its shards beside it": Container(
        lambda folder: save_shards(folder, ".bin"),
        "folder",
        (
            lambda folder: assigned(convlast.load(folder)),
            lambda folder: convlast.load_into(network(), folder),
        ),
    ),
    "a model folder": Container(save_folder, "folder", (from_safetensors,)),
    "a zip of a model folder": Container(
        lambda folder: save_archive(folder, "zip"),
        "zip-folder",
        (lambda path: from_safetensors(unpacked(path, "zip")),),
    ),
    "a tar of a model folder": Container(
        lambda folder: save_archive(folder, "tar"),
        "tar-folder",
        (lambda path: from_safetensors(unpacked(path, "tar")),),
    ),
}


@dataclass(frozen=True)
class Wrapper:
    """A row of the table of wrappers and names that is accepted.

    Attributes:
        build: Makes what is saved.
        found: Where most of the convolutions are, as the report says.
        statuses: What becomes of each.
        load: The way of loading that the row names.
    """

    build: Callable[[], Any]
    found: str | None
    load: Callable[[Path], nn.Module] = lambda path: convlast.load_into(network(), path)
    statuses: tuple[str, ...] = ("converted", "converted")


def with_optimizer(**others: Any) -> dict[str, Any]:
    """Return what trainers keep beside the weights, whose moments are 5-D too."""
    module = network()
    optimizer = torch.optim.AdamW(module.parameters())
    module(torch.ones(1, 3, 6, 6, 6)).sum().backward()
    optimizer.step()
    return {"optimizer_states": [optimizer.state_dict()], **others}


def nnunet() -> dict[str, Any]:
    """Return a checkpoint of nnU-Net's trainer; each convolution is there twice."""
    weights = saved()
    weights |= {f"all_modules.{key}": value for key, value in weights.items()}
    return with_optimizer(
        network_weights=weights,
        grad_scaler_state={"scale": 65536.0},
        logging={"mean_fg_dice": [np.float64(0.5)], "train_losses": [np.float32("nan")]},
        _best_ema=np.float64(0.5),
        init_args={"configuration": "3d_fullres", "fold": 0},
        inference_allowed_mirroring_axes=(0, 1, 2),
    )


def from_nnunet(path: Path) -> nn.Module:
    """Give a network its layout, then load as nnU-Net's predictor does."""
    module = network()
    module.add_module("all_modules", nn.Sequential(*module))
    convlast.apply_layout(module, path)
    module.load_state_dict(convlast.load(path)["network_weights"])
    return module


def lightning() -> dict[str, Any]:
    """Return a checkpoint of Lightning's Trainer."""
    return with_optimizer(
        state_dict=saved(),
        hyper_parameters={"features": 4},
        hparams_name="kwargs",
        callbacks={"ModelCheckpoint": {"best_model_score": torch.tensor(0.5)}},
        loops={"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 1}}}},
        lr_schedulers=[{"milestones": Counter([1, 2]), "_last_lr": [0.01]}],
    )


def averaged() -> dict[str, Any]:
    """Return weights and their moving average, as `AveragedModel` keeps it."""
    module = network()
    return {"model": module.state_dict(), "model_ema": AveragedModel(module).state_dict()}


def from_averaged(path: Path) -> nn.Module:
    """Load the average, by PyTorch alone."""
    module = AveragedModel(network())
    module.load_state_dict(torch.load(path, weights_only=True)["model_ema"], assign=True)
    assert_laid_out(convlast.load_into(network(), path))
    assert_laid_out(convlast.load_into(network(), path, wrapper="model_ema"))
    found: nn.Module = module.module
    return found


def prefixed() -> OrderedDict[str, Any]:
    """Return the state dict of a compiled model in a wrapper."""
    return OrderedDict({f"module._orig_mod.{key}": value for key, value in saved().items()})


def from_prefixed(path: Path) -> nn.Module:
    """Remove the prefixes with PyTorch's function."""
    assert_laid_out(convlast.load_into(network(), path))
    assert_laid_out(convlast.apply_layout(network(), path))
    state_dict = torch.load(path, weights_only=True)
    for prefix in ("module.", "_orig_mod."):
        consume_prefix_in_state_dict_if_present(state_dict, prefix)
    return assigned(state_dict)


def from_two_networks(path: Path) -> nn.Module:
    """Load the smaller network, and lay out the larger one."""
    small = nn.Sequential(nn.Conv3d(2, 4, 3))
    assert_laid_out(convlast.load_into(small, path), ("0.weight",))
    assert_laid_out(convlast.apply_layout(network(), path))
    return convlast.load_into(network(), path)


def from_lightning_alone(path: Path) -> nn.Module:
    """Lay out the network alone, and load it."""
    assert_laid_out(convlast.apply_layout(network(), path))
    return convlast.load_into(network(), path)


def lazy() -> nn.Sequential:
    """Return a network whose second convolution does not know its input yet."""
    return nn.Sequential(nn.Conv3d(3, 4, 3), nn.BatchNorm3d(4), nn.LazyConv3d(2, 3))


def initialized() -> dict[str, Any]:
    """Return the state dict of a lazy network that has seen an input."""
    module = lazy()
    module(torch.ones(1, 3, 6, 6, 6))
    return module.state_dict()


TWICE = ("converted",) * 4

WRAPPERS: dict[str, Wrapper] = {
    "a state dict alone": Wrapper(saved, None),
    "nnU-Net: `network_weights`, each convolution twice, NumPy's numbers": Wrapper(
        nnunet, "network_weights", from_nnunet, TWICE
    ),
    "Lightning: `state_dict`, `hyper_parameters`, callbacks, loops": Wrapper(
        lightning, "state_dict"
    ),
    "MONAI: `net` or `model`, `optimizer`, `trainer`": Wrapper(
        lambda: with_optimizer(net=saved(), trainer={"epoch_length": 2}), "net"
    ),
    "pytorchvideo: `model_state`, `cfg`": Wrapper(
        lambda: with_optimizer(model_state=saved(), epoch=3, cfg="MODEL: X3D"), "model_state"
    ),
    "mmengine, published: `state_dict`, `meta`": Wrapper(
        lambda: {"meta": {"epoch": 3, "cfg": "model = ..."}, "state_dict": saved()}, "state_dict"
    ),
    "a moving average beside the weights": Wrapper(averaged, "model", from_averaged, TWICE),
    "student and teacher": Wrapper(
        lambda: {"student": saved(), "teacher": saved()},
        "student",
        lambda path: assigned(torch.load(path, weights_only=True)["teacher"]),
        TWICE,
    ),
    "keys that begin with `module.` or `_orig_mod.`": Wrapper(prefixed, None, from_prefixed),
    "two networks, such as a GAN's": Wrapper(
        lambda: {"netG": saved(), "netD": nn.Sequential(nn.Conv3d(2, 4, 3)).state_dict()},
        "netG",
        from_two_networks,
        ("converted",) * 3,
    ),
    "a network in a LightningModule, and needed alone": Wrapper(
        lambda: {
            "state_dict": {f"net.{key}": value for key, value in saved().items()}
            | {"loss.0.weight": builders.numbered(4, 2, 3, 3, 3)}
        },
        "state_dict",
        from_lightning_alone,
        ("converted",) * 3,
    ),
    "`LazyConv3d` after its first input": Wrapper(initialized, None),
    "`argparse.Namespace`, paths, dates, exact numbers, `torch.__version__`, enums of the standard "
    "library, NumPy arrays of numbers and text": Wrapper(
        lambda: {"model": saved(), "args": argparse.Namespace(out=Path("a"), mean=np.ones(3))},
        "model",
    ),
}


def training_with_mmengine(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return a checkpoint of mmengine's runner, with a curve as that class of theirs."""
    name = "mmengine.logging.history_buffer"
    module = ModuleType(name)
    curve = type("HistoryBuffer", (), {"__module__": name})()
    curve._log_history = np.array([0.5])
    module.HistoryBuffer = type(curve)  # type: ignore[attr-defined]  # made here
    for known in ("mmengine", "mmengine.logging", name):
        monkeypatch.setitem(sys.modules, known, module)
    hub = {"log_scalars": OrderedDict(loss=curve), "runtime_info": OrderedDict()}
    return {"meta": {"epoch": 3}, "state_dict": saved(), "message_hub": hub}


REFUSED: dict[str, tuple[Callable[[pytest.MonkeyPatch], Any], str, str]] = {
    "mmengine, while training: `message_hub` with `HistoryBuffer`": (
        training_with_mmengine, "mmengine.logging.history_buffer.HistoryBuffer", "message_hub",
    ),
    "`LazyConv3d` before its first input": (
        lambda _: lazy().state_dict(),
        "torch.nn.parameter.UninitializedParameter",
        "run the model once",
    ),
    "objects of other classes, such as `collections.deque`": (
        lambda _: {"model": saved(), "losses": collections.deque([0.1])},
        "collections.deque",
        "make it a list",
    ),
}  # fmt: skip


def old_weight_norm(module: nn.Module) -> nn.Module:
    """Apply weight norm as PyTorch did before parametrizations."""
    norm: Callable[[nn.Module], nn.Module] = nn.utils.weight_norm
    return norm(module)


def without_parametrizations(module: nn.Module) -> nn.Module:
    """Make a parametrized weight a plain one."""
    return parametrize.remove_parametrizations(module, "weight")


Change = Callable[[nn.Module], nn.Module]

RECOMPUTED: dict[str, tuple[Change, Change, str]] = {
    "weight norm: `weight_g`, `weight_v`": (
        old_weight_norm, nn.utils.remove_weight_norm, "remove_weight_norm",
    ),
    "parametrizations: `parametrizations.weight.original…`": (
        parametrizations.spectral_norm, without_parametrizations, "remove_parametrizations",
    ),
}  # fmt: skip


def test_the_tables_have_these_rows() -> None:
    """A row that is added to the page has a test, and a test its row."""
    assert rows_of("container") == list(CONTAINERS)
    assert set(rows_of("wrapper, names")) == {*WRAPPERS, *REFUSED, *RECOMPUTED}


@pytest.mark.parametrize("name", CONTAINERS)
@pytest.mark.filterwarnings("ignore")  # torch.jit and torch.export warn of this and that
def test_a_container(name: str, tmp_path: Path) -> None:
    """The artifact is of the kind that is said, and the layout there by each way that is said."""
    row = CONTAINERS[name]
    source = row.save(tmp_path / "source")
    report = convlast.convert(source, tmp_path / "target", row.options, allow_programs=True)

    assert report.artifact is not None
    assert report.artifact.container == row.artifact
    for route in row.routes:
        assert_laid_out(route(tmp_path / "target"))


@pytest.mark.parametrize("name", WRAPPERS)
def test_a_wrapper(name: str, tmp_path: Path) -> None:
    """The weights are found in it, all else is kept, and it loads with its layout."""
    row = WRAPPERS[name]
    source, target = builders.save(row.build(), tmp_path / "source.pt"), tmp_path / "target.pt"
    report = convlast.convert(source, target, QUIET)

    assert report.verdict == "passed"
    assert report.input.wrapper == row.found
    assert tuple(layer.status for layer in report.layers) == row.statuses
    assert_laid_out(row.load(target))


@pytest.mark.parametrize("name", REFUSED)
def test_a_wrapper_that_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The refusal has the name of what asks for code, and what to do about it."""
    build, asked_for, cure = REFUSED[name]
    source = builders.save(build(monkeypatch), tmp_path / "source.pt")
    with pytest.raises(UnsafeCheckpointError, match=re.escape(asked_for)) as refusal:
        convlast.convert(source, tmp_path / "target.pt", QUIET)
    assert asked_for in refusal.value.names
    assert cure in refusal.value.remedy


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of weight norm's old form
@pytest.mark.parametrize("name", RECOMPUTED)
def test_a_weight_that_is_recomputed(name: str, tmp_path: Path) -> None:
    """It is skipped with the cure, which cures; the others keep their layout."""
    wrap, unwrap, cure = RECOMPUTED[name]
    module = network()
    module[2] = wrap(module[2])
    source, target = tmp_path / "source.pt", tmp_path / "target.pt"
    builders.save(module.state_dict(), source)
    report = convlast.convert(source, target, QUIET)

    assert report.verdict == "passed_with_findings"
    assert [layer.status for layer in report.layers] == ["converted", "skipped"]
    (warning,) = [found for found in report.findings if found.severity == "warning"]
    assert cure in warning.message
    assert_laid_out(convlast.load_into(module, target), ("0.weight",))

    module[2] = unwrap(module[2])
    builders.save(module.state_dict(), source)
    assert convlast.convert(source, target, QUIET).verdict == "passed"
    assert_laid_out(convlast.load_into(network(), target))
