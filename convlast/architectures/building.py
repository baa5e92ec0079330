"""Building a model from its class or function, without the memory for one far too large.

It is built on the meta device first, where tensors have shapes but no values. Models whose
constructors compute with values are built on the CPU; there each tensor is first made on the meta
device. Either way tensors and modules are counted: a model much larger than the checkpoint is
refused before memory is allocated for it.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from types import FrameType
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from convlast.errors import ArchitectureMismatchError, ConvlastError, OptionError
from convlast.report.wording import words_of

_FACTORIES = {
    torch.arange,
    torch.empty,
    torch.empty_strided,
    torch.eye,
    torch.full,
    torch.linspace,
    torch.logspace,
    torch.ones,
    torch.rand,
    torch.randint,
    torch.randn,
    torch.randperm,
    torch.zeros,
}
"""The functions that make a tensor from no other tensor."""

_MODULE = nn.Module.__init__.__code__

MAX_S = 60.0
"""The most seconds for one attempt to build a model."""

_DEPTH = 4
"""How many levels of nested lists and dicts in a module are searched for tensors."""


@dataclass(frozen=True)
class Budget:
    """How large a model may be.

    Attributes:
        elements: The most values in all tensors together.
        parts: The most tensors and modules.
    """

    elements: int
    parts: int

    @classmethod
    def beside(cls, elements: int, tensors: int) -> Budget:
        """Return a budget for the model of a checkpoint, including tensors not in the checkpoint.

        >>> Budget.beside(1000, 10)
        Budget(elements=16779216, parts=5100)
        """
        return cls(2 * elements + (1 << 24), 10 * tensors + 5_000)


class _Overrun(BaseException):
    """The budget is spent. Not an `Exception`, which a constructor might catch."""


class _Ledger(TorchFunctionMode):
    """Counts the tensors and modules that are made while it is active."""

    def __init__(self, budget: Budget) -> None:
        super().__init__()
        self._budget = budget
        self._elements = self._parts = 0
        self._deadline = monotonic() + MAX_S

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func not in _FACTORIES or "out" in (kwargs or {}):
            return func(*args, **(kwargs or {}))
        # Make the tensor on the meta device first, to learn its shape without using memory.
        outline = func(*args, **{**(kwargs or {}), "device": "meta"})
        self._spend(outline.numel())
        made = func(*args, **(kwargs or {}))
        # A buffer that is in no state dict may stay as it was allocated: not by chance.
        return made.zero_() if func is torch.empty and not made.is_meta else made

    def on_call(self, frame: FrameType, event: str, _: object) -> None:
        """Count each module that is made, even without tensors, and check the time.

        This is a profiling function: after `sys.setprofile` Python calls it for every call in this
        thread.
        """
        if event == "call" and frame.f_code is _MODULE:
            self._spend(0)
        elif monotonic() > self._deadline:
            raise _Overrun

    def _spend(self, elements: int) -> None:
        self._elements += elements
        self._parts += 1
        if self._elements > self._budget.elements or self._parts > self._budget.parts:
            raise _Overrun


def blueprint(name: str, build: Callable[[], Any], budget: Budget) -> nn.Module:
    """Build a model whose parameters and persistent buffers are on the meta device.

    Tensors that are not in the state dict have their values, on the CPU.

    Args:
        name: The model's name in messages.
        build: Calls the class or function.
        budget: How large the model may be.

    Raises:
        ArchitectureMismatchError: If it is much larger than the checkpoint.
        OptionError: If it cannot be built with these options.
    """
    try:
        model = _built(name, build, budget, "meta")
        if not _has_lost_values(model):
            return model
    except (ConvlastError, MemoryError):
        raise
    except Exception:  # noqa: S110  # it may need values; a true error is raised again below
        pass
    try:
        model = _built(name, build, budget, "cpu")
    except (ConvlastError, MemoryError):
        raise
    except Exception as error:
        raise OptionError(
            "architecture_options",
            f"{name} cannot be built with these options: {words_of(error)}.",
            remedy="Give the keyword arguments that the checkpoint's model was made with.",
        ) from error
    _strip(model)
    return model


def persistent(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return the parameters and buffers in a model's state dict, by their keys."""
    keys = set(model.state_dict(keep_vars=True))
    named = [
        *model.named_parameters(remove_duplicate=False),
        *model.named_buffers(remove_duplicate=False),
    ]
    return {key: tensor for key, tensor in named if key in keys}


def replace(model: nn.Module, values: Mapping[int, torch.Tensor]) -> None:
    """Replace parameters and buffers; a tensor that is used in two places still is.

    Args:
        model: The model.
        values: The new tensors, by the id of the tensor that each replaces.
    """
    parameters = {id(each) for each in model.parameters()}
    incoming = {
        key: nn.Parameter(value, requires_grad=False) if key in parameters else value
        for key, value in values.items()
    }
    for owner in model.modules():
        # Write into the dicts directly: a parametrization checks values set through attributes.
        for held in (owner._parameters, owner._buffers):
            for name, tensor in held.items():
                held[name] = incoming.get(id(tensor), tensor)  # type: ignore[assignment]  # alike


def _built(name: str, build: Callable[[], Any], budget: Budget, device: str) -> nn.Module:
    ledger, before = _Ledger(budget), sys.getprofile()
    try:
        sys.setprofile(ledger.on_call)
        with _quietly(), torch.device(device), ledger, torch.no_grad():
            model = build()
    except _Overrun:
        raise ArchitectureMismatchError(
            f"{name} with these options is much larger than the checkpoint: more than "
            f"{budget.elements:,} values, {budget.parts:,} tensors and modules, or {MAX_S:.0f} s.",
            remedy="Give the options that the checkpoint's model was made with.",
        ) from None
    finally:
        sys.setprofile(before)
    if not isinstance(model, nn.Module):
        raise OptionError("architecture", f"{name} made a {type(model).__name__}, not a model.")
    return model.eval()


@contextmanager
def _quietly() -> Iterator[None]:
    """Suppress warnings, and seed the random numbers, whose state is restored afterwards."""
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        yield


def _has_lost_values(model: nn.Module) -> bool:
    """Say whether a model on the meta device has tensors that no state dict will fill."""
    filled = {id(tensor) for tensor in persistent(model).values()}
    own = [
        value
        for module in model.modules()
        for value in (*module.buffers(recurse=False), *_attributes(module))
    ]
    return any(id(tensor) not in filled for tensor in _tensors(own, _DEPTH) if tensor.is_meta)


def _attributes(module: nn.Module) -> Iterator[object]:
    registered = {"_parameters", "_buffers", "_modules"}
    yield from (value for name, value in vars(module).items() if name not in registered)


def _tensors(value: object, depth: int) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict) and depth:
        yield from _tensors(list(value.values()), depth)
    elif isinstance(value, list | tuple | set) and depth:
        for part in value:
            yield from _tensors(part, depth - 1)


def _strip(model: nn.Module) -> None:
    """Remove the values of the tensors that the state dict will fill."""
    replace(
        model,
        {id(each): torch.empty_like(each, device="meta") for each in persistent(model).values()},
    )
