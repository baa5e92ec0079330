"""The model under test, and what can be done to it: another precision, another layout, a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map, tree_map_only

from convlast.architectures.subject import Inputs, Subject
from convlast.errors import ConvlastError
from convlast.memory_format import strides_of
from convlast.smoke import health
from convlast.smoke.memory import is_out_of_memory
from convlast.smoke.model.emulation import Emulation
from convlast.smoke.model.outputs import Outputs, outputs_of
from convlast.smoke.model.watching import Failure, Operation, Turn, Watch, owners_of, words_of
from convlast.smoke.precision import exact_float32, is_native

Weights: TypeAlias = Mapping[str, Callable[[], Tensor]]
"""Reads the converted weights, by the names of their parameters, with the strides they have."""

Outcome: TypeAlias = Outputs | Failure
"""The outputs of a run, or why there are none."""


@dataclass
class Way:
    """One way to run the model.

    Attributes:
        samples: N of the input.
        first_of: If given, the input is the first sample of the one with so many.
        is_autocast: Whether under autocast to fp16; the module is in fp32 then.
        is_input_converted: Whether the input is channels-last too.
        on_operation: Called for each operator.
        on_turn: Called for each module's turn.
    """

    samples: int
    first_of: int | None = None
    is_autocast: bool = False
    is_input_converted: bool = False
    on_operation: Callable[[Operation], None] | None = None
    on_turn: Callable[[Turn], None] | None = None


@dataclass
class Specimen:
    """A module of a subject on a device, in one precision and layout at a time.

    Attributes:
        subject: What it is made from.
        converted: The converted weights.
        device: Where it runs.
        halvings: How often the spatial extents of the input are halved, for want of memory.
    """

    subject: Subject
    converted: Weights
    device: torch.device
    halvings: int = 0
    module: nn.Module = field(init=False)
    dtype: torch.dtype = field(init=False, default=torch.float32)
    _drawn: dict[int, Inputs] = field(init=False, default_factory=dict)
    """Inputs by their number of samples: to draw them can take longer than a forward."""
    _located: dict[str, Failure] = field(init=False, default_factory=dict)
    """Where the model raised, by what it raised: to find out takes a run that is watched."""

    def __post_init__(self) -> None:
        """Make the module."""
        self.module = self.subject.make_module().to(self.device)

    def cast(self, dtype: torch.dtype) -> None:
        """Round parameters and buffers; there is no way back to what they were."""
        self.module.to(dtype)
        self.dtype = dtype

    def lay_out(self, names: Sequence[str] | None = None) -> None:
        """Give the named parameters, or all, the converted layout, and the others contiguous."""
        chosen = self.converted.keys() if names is None else set(names)
        for name, parameter in self._weights():
            if name in chosen:
                weight = self.converted[name]().to(torch.float32)
            elif parameter.stride() == strides_of(parameter.shape, "contiguous_format"):
                continue
            else:
                weight = parameter.detach().clone(memory_format=torch.contiguous_format)
            parameter.data = weight.to(parameter.dtype).to(self.device)

    def inputs(self, way: Way) -> Inputs:
        """Make the inputs of one way."""
        made = self._draw(way.samples)
        if way.first_of is not None:
            made = _first_of(made, self._draw(way.first_of))
        prepare = partial(self._prepare, is_converted=way.is_input_converted)
        args, kwargs = tree_map_only(
            Tensor,
            partial(prepare, dtype=torch.float32 if way.is_autocast else self.dtype),
            (made.args, made.kwargs),
        )
        return Inputs(args, kwargs)

    def _draw(self, samples: int) -> Inputs:
        if samples not in self._drawn:
            self._drawn[samples] = self.subject.make_inputs(samples)
        return self._drawn[samples]

    def owners(self) -> dict[str, str]:
        """Return the module of each weight, by the weight's name.

        A module that stands in two places is followed under the first of its names.
        """
        first = owners_of(self.module)
        held = dict(self.module.named_parameters(remove_duplicate=False))
        return {
            name: first.get(held[name].data_ptr(), name.rpartition(".")[0])
            for name in self.subject.weights.values()
            if name in held
        }

    def input_shape(self, samples: int) -> list[int] | None:
        """Return the shape of the first input."""
        args = self.inputs(Way(samples)).args
        return next((list(arg.shape) for arg in args if isinstance(arg, Tensor)), None)

    def run(self, way: Way) -> Outcome:
        """Run the model once, with the same random numbers each time.

        Raises:
            DeviceLostError: If the device cannot be used any more.
            RuntimeError: If memory ran out.
        """
        inputs = self.inputs(way)
        try:
            with self._prepared(way), self._observed(way):
                result = self.call(inputs, way)
                health.wait_for(self.device)
        except ConvlastError:
            raise
        except Exception as error:
            self._require_no_accident(error)
            words = words_of(error)
            # Ways that raise the same are taken to do so in the same place, found once.
            if words not in self._located:
                self._located[words] = self._locate(way) or Failure(words)
            return self._located[words]
        return outputs_of(result)

    def _locate(self, way: Way) -> Failure | None:
        """Run once more what raised, watching every operator, and say where it does."""
        inputs = self.inputs(way)
        watch = Watch(self.module, takes_hooks=self.subject.takes_hooks)
        try:
            with self._prepared(way), watch:
                self.call(inputs, way)
                health.wait_for(self.device)
        except Exception as error:
            self._require_no_accident(error)
            return watch.failure_of(error)
        return None

    def _require_no_accident(self, error: Exception) -> None:
        """Pass on what is no result: memory that ran out, a device that is lost."""
        if is_out_of_memory(error):
            raise error
        health.require_alive(self.device)

    def call(self, inputs: Inputs, way: Way) -> Any:
        """Call the model, in the precision of the way; nothing is watched and nothing caught."""
        entry = getattr(self.module, self.subject.entry)
        with ExitStack() as stack:
            stack.enter_context(torch.no_grad())
            if self.dtype == torch.float32 and not way.is_autocast:
                stack.enter_context(exact_float32())
            if way.is_autocast:
                kind = self.device.type
                stack.enter_context(torch.autocast(kind, torch.float16, cache_enabled=False))
            if self.subject.entry == "forward":
                entry = self.module  # so that its own hooks run
            return entry(*inputs.args, **inputs.kwargs)

    @contextmanager
    def _prepared(self, way: Way) -> Iterator[None]:
        """Fix random numbers, and emulate fp16 where there is none."""
        with ExitStack() as stack:
            devices = [self.device] if self.device.type == "cuda" else []
            stack.enter_context(torch.random.fork_rng(devices=devices))
            torch.manual_seed(0)
            if not is_native(self.device) and (way.is_autocast or self.dtype != torch.float32):
                stack.enter_context(Emulation())  # type: ignore[no-untyped-call]
            yield

    def _observed(self, way: Way) -> AbstractContextManager[object]:
        """Watch as much as is listened to; watching every operator costs time."""
        if way.on_operation is None and way.on_turn is None:
            return nullcontext()
        return Watch(
            self.module,
            takes_hooks=self.subject.takes_hooks,
            on_operation=way.on_operation,
            on_turn=way.on_turn,
            sees_operators=way.on_operation is not None or not self.subject.takes_hooks,
        )

    def _weights(self) -> list[tuple[str, nn.Parameter]]:
        """Return the weights that a conversion changes, each once."""
        held = dict([*self.module.named_parameters(remove_duplicate=False)])
        return [(name, held[name]) for name in self.converted if name in held]

    def _prepare(self, drawn: Tensor, *, dtype: torch.dtype, is_converted: bool) -> Tensor:
        """Return what the model gets, which it may write to."""
        tensor = drawn
        if tensor.dim() == 5:
            for _ in range(self.halvings):
                depth, height, width = ((extent + 1) // 2 for extent in tensor.shape[2:])
                tensor = tensor[..., :depth, :height, :width]
            tensor = tensor.contiguous()
            if is_converted:
                tensor = tensor.to(memory_format=torch.channels_last_3d)
        if tensor.is_floating_point():
            tensor = tensor.to(dtype)
        tensor = tensor.to(self.device)
        return tensor.clone() if tensor.data_ptr() == drawn.data_ptr() else tensor


def _first_of(one: Inputs, several: Inputs) -> Inputs:
    """Return the inputs of the first of several samples; `one` tells which extents count them."""

    def first(single: object, every: object) -> object:
        if isinstance(single, Tensor) and isinstance(every, Tensor) and single.dim():
            return every[: single.shape[0]] if single.shape != every.shape else every
        return every

    args, kwargs = tree_map(first, (one.args, one.kwargs), (several.args, several.kwargs))
    return Inputs(args, kwargs)
