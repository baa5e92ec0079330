"""The model that the smoke runs: a module, its inputs, and where the plan's weights are in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Inputs:
    """The arguments of one forward.

    Attributes:
        args: The positional arguments; the first is a tensor of (N, C, D, H, W).
        kwargs: The keyword arguments.
    """

    args: tuple[object, ...]
    kwargs: dict[str, object]


@dataclass(frozen=True)
class Subject:
    """A model that can be made and run any number of times.

    Attributes:
        name: Its name in the report: `torchvision.models.video.r3d_18`, `torchscript`,
            `exported program` or `pickled module`.
        origin: How it was found: `architecture option`, `config.json`, `network_def` and so on.
        entry: The method to run: `forward`, `encode` or `decode`.
        make_module: Makes a fresh module on the CPU, in fp32 and eval mode, with the values of the
            original file and contiguous strides.
        weights: The parameter's name in the module, for each layer's name in the plan.
        make_inputs: Makes the inputs of a batch of N, as fresh tensors with the same values each
            time: fp32, contiguous, on the CPU.
        takes_hooks: False for TorchScript and exported programs, whose modules take no hooks.
        batch: The only N that it takes; None if it takes any, as far as is known.
    """

    name: str
    origin: str
    entry: str
    make_module: Callable[[], torch.nn.Module | torch.jit.ScriptModule]
    weights: Mapping[str, str]
    make_inputs: Callable[[int], Inputs]
    takes_hooks: bool
    batch: int | None = None
