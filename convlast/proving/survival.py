"""Whether the layout is still there after each way of loading, tried on what was written.

The whole artifact was loaded for the proof. The other ways are tried on one of its weights, in
the smallest model that has it, since they treat every weight alike.
"""

from __future__ import annotations

import copy
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from convlast.loading import load_into
from convlast.report import Kind, Survival
from convlast.report.wording import words_of

LARGEST_SAMPLE_BYTES = 64 << 20
"""A weight larger than this is not copied a dozen times to make a point."""

_CURE = "Use load_state_dict(state_dict, assign=True) or convlast.load_into."


def try_routes(weight: torch.Tensor, kind: Kind, workplace: Path) -> list[Survival]:
    """Try each way of loading, saving and copying on one converted weight.

    Args:
        weight: (O, I / groups, D, H, W), as it is in the artifact.
        kind: What owns it; as `unknown` it is a Conv3d's.
        workplace: A folder for what is saved on the way; it is left as it was.
    """
    if weight.numel() * weight.itemsize > LARGEST_SAMPLE_BYTES or not weight.is_floating_point():
        return []
    with tempfile.TemporaryDirectory(dir=workplace) as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit and torch.export warn of this and that
        sample = _Sample(weight, kind, Path(folder))
        return [_tried(route, attempt, sample) for route, attempt in _ROUTES.items()]


class _Sample:
    """The smallest model with a weight, and a folder for what it is saved as."""

    def __init__(self, weight: torch.Tensor, kind: Kind, folder: Path) -> None:
        self.state_dict = {"weight": weight.detach()}
        self.kind, self.folder = kind, folder
        self.stride = weight.stride()

    def fresh(self) -> nn.Module:
        """Build the model anew, with weights of its own."""
        weight = self.state_dict["weight"]
        first, second, *kernel = weight.shape
        owner = nn.ConvTranspose3d if self.kind == "ConvTranspose3d" else nn.Conv3d
        channels = (first, second) if owner is nn.ConvTranspose3d else (second, first)
        return owner(*channels, kernel, bias=False, dtype=weight.dtype)  # type: ignore[arg-type]  # a kernel of three

    def loaded(self) -> nn.Module:
        """Build the model with the converted weight in it."""
        module = self.fresh()
        module.load_state_dict(self.state_dict, assign=True)
        return module

    def activation(self) -> torch.Tensor:
        """Return the smallest input that the model takes."""
        weight = self.state_dict["weight"]
        channels = weight.shape[0] if self.kind == "ConvTranspose3d" else weight.shape[1]
        return torch.zeros(1, channels, *weight.shape[2:], dtype=weight.dtype)


def _default(sample: _Sample) -> Any:
    module = sample.fresh()
    module.load_state_dict(sample.state_dict)
    return module.weight


def _load_into(sample: _Sample) -> Any:
    path = sample.folder / "sample.pt"
    torch.save(sample.state_dict, path)
    return load_into(sample.fresh(), path).weight


def _script(sample: _Sample) -> Any:
    path = sample.folder / "sample.ts"
    jit: Any = torch.jit  # whose functions are not annotated
    # The check traces and runs the model again, to compare results, which are not asked for here.
    traced = jit.trace(sample.loaded().eval(), sample.activation(), check_trace=False)
    jit.save(traced, path)
    return jit.load(path).weight


def _export(sample: _Sample) -> Any:
    path = sample.folder / "sample.pt2"
    torch.export.save(torch.export.export(sample.loaded().eval(), (sample.activation(),)), path)
    return torch.export.load(path).state_dict["weight"]


def _safetensors(sample: _Sample) -> Any:
    from safetensors.torch import load_file, save_file

    path = sample.folder / "sample.safetensors"
    save_file({"weight": sample.state_dict["weight"].contiguous()}, path)
    return load_file(path)["weight"]


_ROUTES: dict[str, Callable[[_Sample], Any]] = {
    "model.load_state_dict(state_dict)": _default,
    "model.load_state_dict(state_dict, assign=True)": lambda sample: sample.loaded().weight,
    "convlast.load_into(model, path)": _load_into,
    "model.half()": lambda sample: sample.loaded().half().weight,
    "copy.deepcopy(model)": lambda sample: copy.deepcopy(sample.loaded()).weight,
    "torch.jit.save, torch.jit.load": _script,
    "torch.export.save, torch.export.load": _export,
    "safetensors.torch.save_file, load_file": _safetensors,
}

_LOST = {
    "model.load_state_dict(state_dict)": "PyTorch copies the values into the model's own, "
    f"contiguous, parameters. {_CURE}",
    "safetensors.torch.save_file, load_file": "safetensors holds no strides, and refuses weights "
    "that are not contiguous. Convert with container=safetensors, and load with convlast.load.",
}


def _tried(route: str, attempt: Callable[[_Sample], Any], sample: _Sample) -> Survival:
    try:
        survives = attempt(sample).stride() == sample.stride
    except Exception as error:
        # Whatever a route raises is what there is to say about it.
        message = f"It could not be tried: {words_of(error)}"
        return Survival(route=route, survives=None, message=message)
    if survives:
        return Survival(route=route, survives=True, message="Tried on one weight of the artifact.")
    message = _LOST.get(route, "The layout is lost on this way.")
    return Survival(route=route, survives=False, always_lost=route in _LOST, message=message)
