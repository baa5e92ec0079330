"""The smallest checkpoints, by name: the objects that are saved, and the ways to save them."""

from __future__ import annotations

import io
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import safetensors.torch
import torch
from torch import Tensor, nn

SHAPE = (4, 3, 3, 3, 3)
"""Of a weight that has other strides in each layout."""


def numbered(*shape: int, dtype: torch.dtype = torch.float32, start: int = 0) -> Tensor:
    """Return a tensor in which no two elements are alike."""
    numel = torch.Size(shape).numel()
    return torch.arange(start, start + numel).to(dtype).reshape(shape)


def quantized(*shape: int) -> Tensor:
    """Return a tensor of eight bits with a scale, as torch no longer likes to make them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.quantize_per_tensor(torch.ones(shape), 0.1, 0, torch.qint8)


def one_convolution() -> OrderedDict[str, Tensor]:
    """The state dict of one Conv3d."""
    return OrderedDict({"conv.weight": numbered(*SHAPE), "conv.bias": numbered(4)})


def a_model() -> nn.Sequential:
    """Both kinds of convolution, kernels of both sorts, and what stands between them."""
    return nn.Sequential(
        nn.Conv3d(1, 4, 3),
        nn.BatchNorm3d(4),
        nn.Conv3d(4, 6, 1),
        nn.ConvTranspose3d(6, 4, 2),
        nn.Conv3d(4, 4, 3, groups=4, bias=False),
        nn.Conv2d(4, 4, 3),
    )


def nested_wrappers() -> dict[str, Any]:
    """Two state dicts below dicts and lists, beside numbers and text."""
    return {
        "epoch": 3,
        "metrics": {"loss": [0.5, float("nan")], "name": "first", "best": None},
        "models": [{"net": one_convolution()}, {"net": nn.Conv3d(2, 4, 3).state_dict()}],
    }


def tied_weights() -> OrderedDict[str, Tensor]:
    """One weight under two names, as one object."""
    weight = numbered(*SHAPE)
    return OrderedDict({"encoder.weight": weight, "decoder.weight": weight})


def aliases() -> OrderedDict[str, Tensor]:
    """One weight under two names, as two objects on one storage, as nnU-Net has them."""
    weight = numbered(*SHAPE)
    return OrderedDict({"encoder.weight": weight, "decoder.weight": weight.detach()})


def overlapping_views() -> OrderedDict[str, Tensor]:
    """A weight, and a flat view that begins in the middle of it."""
    buffer = numbered(600)
    weight = buffer[:324].view(SHAPE)
    return OrderedDict({"conv.weight": weight, "tail": buffer[200:]})


def neighbours() -> OrderedDict[str, Tensor]:
    """Two weights on one storage, side by side."""
    buffer = numbered(650)
    first, second = buffer[:324].view(SHAPE), buffer[324:648].view(SHAPE)
    return OrderedDict({"a.weight": first, "b.weight": second})


def with_parameters() -> dict[str, Any]:
    """Parameters, frozen ones, a buffer, and a Python attribute on a tensor."""
    marked = numbered(3)
    marked.__dict__["mark"] = "kept"
    return {
        "conv.weight": nn.Parameter(numbered(*SHAPE)),
        "frozen.weight": nn.Parameter(numbered(*SHAPE), requires_grad=False),
        "leaf.weight": numbered(*SHAPE).requires_grad_(),
        "marked": marked,
    }


def with_optimizer() -> dict[str, Any]:
    """A model beside the state of its optimizer, whose moments are 5-D too."""
    model = nn.Conv3d(3, 4, 3)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 3, 3, 3, 3)).sum().backward()
    optimizer.step()
    return {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 1}


def without_convolutions() -> OrderedDict[str, Tensor]:
    """A state dict of linear layers."""
    return OrderedDict({"fc.weight": numbered(4, 3), "fc.bias": numbered(4)})


def save(root: object, path: Path, **how: Any) -> Path:
    """Write a torch zip file, or with `_use_new_zipfile_serialization=False` a legacy one."""
    torch.save(root, path, **how)
    return path


def save_legacy(root: object, path: Path, **how: Any) -> Path:
    """Write torch's legacy format."""
    return save(root, path, _use_new_zipfile_serialization=False, **how)


def save_from(device_tag: str, root: object, path: Path, **how: Any) -> Path:
    """Write a file as a machine would whose tensors are on another device."""
    with mock.patch.object(torch.serialization, "location_tag", return_value=device_tag):
        return save(root, path, **how)


def save_safetensors(tensors: dict[str, Tensor], path: Path, **metadata: str) -> Path:
    """Write a safetensors file."""
    safetensors.torch.save_file(tensors, path, metadata=metadata or None)
    return path


def save_torchscript(path: Path) -> Path:
    """Write a TorchScript archive, as `torch.jit.save` does, with compressed code."""
    name = f"{path.stem}/"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member in ("data.pkl", "constants.pkl", "code/__torch__.py", "version"):
            archive.writestr(name + member, b"\x80\x02N.")
    return path


def save_exported_program(path: Path) -> Path:
    """Write an ExportedProgram, as `torch.export.save` does."""
    program = torch.export.export(nn.Conv3d(1, 2, 1), (torch.ones(1, 1, 2, 2, 2),))
    torch.export.save(program, path)
    return path


def bytes_of(save_to: Callable[[Path], Path], folder: Path) -> bytes:
    """Return what a builder writes."""
    path = save_to(folder / "built")
    data = path.read_bytes()
    path.unlink()
    return data


def rezip(
    data: bytes, change: Callable[[str, bytes], bytes | None], method: int = zipfile.ZIP_STORED
) -> bytes:
    """Return a zip file with each member changed, or left out where the change says None."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w", method) as new:
        for name in old.namelist():
            if (changed := change(name, old.read(name))) is not None:
                new.writestr(zipfile.ZipInfo(name), changed, compress_type=method)
    return buffer.getvalue()
