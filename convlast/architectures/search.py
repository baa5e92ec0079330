"""Finding an input size that a model runs on, by trying.

Sizes are tried from the smallest up on the meta device, which uses no memory and computes nothing;
if no size runs there, on the CPU. Each try is watched: it ends when a tensor gets too large, or
when time is up.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, TypeAlias

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from convlast.architectures.sizes import Shape
from convlast.errors import OptionError

FLOPS, BYTES = 5e9, 16 << 20
"""The preferred size needs at most this many operations in all, and this many bytes for its largest
tensor, on a CPU."""

ACCELERATION = 100
"""How many times as much the preferred size may need on any other device."""

MAX_BYTES = 1 << 30
"""The largest tensor in a try."""

MAX_S = 30.0
"""The most seconds for all tries together."""

Run: TypeAlias = Callable[[Any, Shape, str], object]
"""Runs a model on an input of this shape, on this device."""


def find_shape(
    model: nn.Module,
    make_real: Callable[[], Any],
    run: Run,
    groups: Sequence[Sequence[Shape]],
    device: torch.device,
) -> Shape:
    """Return the shape of an input that the model runs on, with N = 1.

    It is the largest shape within `FLOPS` and `BYTES`, times `ACCELERATION` on an accelerator, from
    the first group that has one. If no group has one, it is the first shape that runs.

    Args:
        model: The model without values; a copy is moved to the meta device for the tries.
        make_real: Makes the model with values, if that is needed.
        run: Runs the model.
        groups: Shapes in growing order, as `candidates` returns them.
        device: Where the model will run later; nothing is tried there.

    Raises:
        OptionError: If no shape is found.
    """
    search = _Search(run, 1 if device.type == "cpu" else ACCELERATION)
    found = search.best(copy.deepcopy(model).to("meta"), groups, "meta")
    if found := found or search.best(make_real(), groups, "cpu"):
        return found
    raise OptionError(
        "input_shape",
        "No input was found that the model runs on. "
        f"{search.failure or 'It has no convolution that shows the number of channels'}.",
        remedy="Give input_shape as N,C,D,H,W. Or smoke=layers, which runs each layer alone.",
    )


class _Search:
    """The tries, and the last failure."""

    def __init__(self, run: Run, scale: int) -> None:
        self._run, self._scale = run, scale
        self._deadline = monotonic() + MAX_S
        self._stopped: set[Shape] = set()
        self.failure = ""

    def best(self, model: Any, groups: Sequence[Sequence[Shape]], device: str) -> Shape | None:
        """Return the preferred shape for a model; None if it runs on none."""
        dear: Shape | None = None
        for shapes in groups:
            cheap: Shape | None = None
            for shape in shapes:
                if shape in self._stopped or monotonic() > self._deadline:
                    continue
                cost = self._try(model, shape, device)
                if cost is not None and cost > self._scale:
                    dear = dear or shape
                    break
                cheap = shape if cost is not None else cheap
            if cheap is not None:
                return cheap
        return dear

    def _try(self, model: Any, shape: Shape, device: str) -> float | None:
        """Run a model once; return its cost, 1 being the preferred limit, or None if it raised."""
        counter, watching = FlopCounterMode(display=False), _Watching(self._deadline)
        try:
            with warnings.catch_warnings(), torch.no_grad(), torch.device(device):
                warnings.simplefilter("ignore")
                with counter, watching:
                    self._run(model, shape, device)
        except _Stop as stop:
            self._stopped.add(shape)  # too large on the meta device is too large on the CPU
            self.failure = f"With {shape} {stop}"
            return None
        except MemoryError:
            raise
        except Exception as error:
            words = str(error).strip().partition("\n")[0][:200].rstrip(".")
            self.failure = f"With {shape} it raises {type(error).__name__}: {words}"
            return None
        return max(counter.get_total_flops() / FLOPS, watching.largest_bytes / BYTES)


class _Stop(BaseException):
    """Raised to end a try. Not an `Exception`, which a model might catch."""


class _Watching(TorchDispatchMode):  # type: ignore[no-untyped-call]  # PyTorch's own base
    """Ends a forward that makes too large a tensor, or takes too long."""

    def __init__(self, deadline: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # PyTorch's
        self._deadline = deadline
        self.largest_bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if monotonic() > self._deadline:
            raise _Stop("time was up")
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self.largest_bytes = max(self.largest_bytes, leaf.numel() * leaf.itemsize)
            if self.largest_bytes > MAX_BYTES:
                raise _Stop(f"a tensor of {tuple(leaf.shape)} is larger than {MAX_BYTES:,} bytes")
        return result
