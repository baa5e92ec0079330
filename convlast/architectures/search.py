"""Finding an input size that a model runs on, by trying.

Sizes are tried from the smallest up on the meta device, which uses no memory and computes nothing;
if no size runs there, on the CPU. Each try gets a copy of the model, without the state that the
last try left. Each is watched: it ends when a tensor gets too large, or when time is up.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from math import prod
from time import monotonic
from typing import Any, TypeAlias

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from convlast.architectures.fresh import fresh
from convlast.architectures.sizes import Shape
from convlast.architectures.time_limit import TimeLimit, TimeUp
from convlast.errors import OptionError
from convlast.report.wording import words_of

FLOPS, BYTES = 5e9, 16 << 20
"""The preferred size needs at most this many operations in all, and this many bytes for its largest
tensor, on a CPU."""

ACCELERATION = 100
"""How many times as much the preferred size may need on any other device."""

MAX_BYTES = 1 << 30
"""The largest tensor in a try."""

MAX_S = 30.0
"""The most seconds for all tries together."""

SHARE = 0.5
"""The most of the smoke's remaining time that all tries together may take."""

LARGER = 4
"""How many larger sizes are tried after one that runs."""

_MISMATCH = re.compile(
    r"to have (\d+) channels, but got (\d+) channels instead|Invalid channel dimensions"
)
"""How PyTorch refuses an input with another number of channels than a convolution takes."""

Run: TypeAlias = Callable[[Any, Shape, str], object]
"""Runs a model on an input of this shape, on this device."""


def find_shape(
    models: Sequence[tuple[str, Callable[[], Any]]],
    run: Run,
    groups: Sequence[Sequence[Shape]],
    device: torch.device,
    limit: TimeLimit,
) -> Shape:
    """Return the shape of an input that the model runs on, with N = 1.

    It is the largest shape within `FLOPS` and `BYTES`, times `ACCELERATION` on an accelerator, from
    the first group that has one. If no group has one, it is the first shape that runs.

    Args:
        models: Devices to try on, in this order, each with a function that makes the model there.
        run: Runs the model.
        groups: Shapes in growing order, as `candidates` returns them.
        device: Where the model will run later; nothing is tried there.
        limit: The time of the whole smoke.

    Raises:
        OptionError: If no shape is found.
        TimeUp: If none was found in the time that there is.
    """
    search = _Search(run, 1 if device.type == "cpu" else ACCELERATION, limit)
    for place, make in models:
        try:
            model = make()
        except Exception:
            if place == "meta":  # where not every program can be loaded
                continue
            raise
        if found := search.best(model, groups, place):
            return found
    if search.is_time_up() and limit.seconds is not None:
        raise TimeUp
    raise OptionError(
        "input_shape",
        "No input was found that the model runs on. "
        f"{search.failure or 'It has no convolution that shows the number of channels'}.",
        remedy="Give input_shape as N,C,D,H,W. Or smoke=layers, which runs each layer alone.",
    )


def channels_wanted(failure: str, given: int) -> int | None:
    """Return the number of channels that an input should have had; None if it is not at fault.

    Args:
        failure: How PyTorch refused the input of a convolution.
        given: The input's own number of channels, which the model may have folded patches into.

    >>> channels_wanted("expected input[2, 4, 8, 8, 8] to have 3 channels, but got 4 channels "
    ...                 "instead", 4)
    3
    """
    found = _MISMATCH.search(failure)
    if found is None or found[1] is None:
        return None
    wanted, got = int(found[1]) * given, int(found[2])
    return wanted // got if got and wanted % got == 0 else None


class _Search:
    """The tries, and the failure that says most: not that the channels were wrong, if possible."""

    def __init__(self, run: Run, scale: int, limit: TimeLimit) -> None:
        self._run, self._scale = run, scale
        self._deadline = monotonic() + min(MAX_S, SHARE * limit.remaining_s())
        self._stopped: set[Shape] = set()
        self._mismatch: tuple[str | None, ...] | None = None
        self.failure = ""

    def is_time_up(self) -> bool:
        """Say whether no time is left for another try."""
        return monotonic() > self._deadline

    def best(self, model: Any, groups: Sequence[Sequence[Shape]], device: str) -> Shape | None:
        """Return the preferred shape for a model; None if it runs on none."""
        dear: Shape | None = None
        for shapes in groups:
            first = self._first(model, shapes, device)
            if first is None:
                continue
            place, cost = first
            if cost <= self._scale:
                return self._larger(model, shapes[place:], cost, device)
            dear = dear or shapes[place]
        return dear

    def _first(self, model: Any, shapes: Sequence[Shape], device: str) -> tuple[int, float] | None:
        """Return the place and the cost of the first shape that the model runs on."""
        before: tuple[str | None, ...] | None = None
        for place, shape in enumerate(shapes):
            if shape in self._stopped or self.is_time_up():
                continue
            cost = self._try(model, shape, device)
            if cost is not None:
                return place, cost
            if self._mismatch and self._mismatch == before:
                return None  # the number of channels is wrong, whatever the size
            before = self._mismatch
        return None

    def _larger(self, model: Any, shapes: Sequence[Shape], cost: float, device: str) -> Shape:
        """Return the largest shape within the limits; of the first of these the cost is known.

        The cost grows about as the number of elements, so most sizes need no try.
        """
        ratio, tries = cost / prod(shapes[0]), 0
        for shape in reversed(shapes[1:]):
            is_worth_it = ratio * prod(shape) <= self._scale and shape not in self._stopped
            if not is_worth_it or tries == LARGER or self.is_time_up():
                continue
            tries += 1
            found = self._try(model, shape, device)
            if found is not None and found <= self._scale:
                return shape
            if found is not None:
                ratio = max(ratio, found / prod(shape))
        return shapes[0]

    def _try(self, model: Any, shape: Shape, device: str) -> float | None:
        """Run a copy of a model; return its cost, 1 being the limit, or None if it raised."""
        watching = _Watching(self._deadline)
        try:
            with warnings.catch_warnings(), torch.no_grad(), torch.device(device):
                warnings.simplefilter("ignore")
                copied = fresh(model)
                with watching:
                    self._run(copied, shape, device)
        except _Stop as stop:
            self._stopped.add(shape)  # too large on the meta device is too large on the CPU
            self._note(f"With {shape} {stop}")
            return None
        except MemoryError:
            raise
        except Exception as error:
            self._note(f"With {shape} it raises {words_of(error, watching.raised)}")
            return None
        return max(watching.flops / FLOPS, watching.largest_bytes / BYTES)

    def _note(self, failure: str) -> None:
        found = _MISMATCH.search(failure)
        self._mismatch = found.groups() if found else None
        if not found or not self.failure or _MISMATCH.search(self.failure):
            self.failure = failure


class _Stop(BaseException):
    """Raised to end a try. Not an `Exception`, which a model might catch."""


class _Watching(TorchDispatchMode):  # type: ignore[no-untyped-call]  # PyTorch's own base
    """Ends a forward that makes too large a tensor, or takes too long; counts its operations."""

    def __init__(self, deadline: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # PyTorch's
        self._deadline = deadline
        self.flops = self.largest_bytes = 0
        self.raised: Exception | None = None

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if monotonic() > self._deadline:
            raise _Stop("time was up")
        try:
            result = func(*args, **(kwargs or {}))
        except Exception as error:
            self.raised = error
            raise
        if count := flop_registry.get(func._overloadpacket):
            self.flops += count(*args, **(kwargs or {}), out_val=result)
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self.largest_bytes = max(self.largest_bytes, leaf.numel() * leaf.itemsize)
            if self.largest_bytes > MAX_BYTES:
                raise _Stop(f"a tensor of {tuple(leaf.shape)} is larger than {MAX_BYTES:,} bytes")
        return result
