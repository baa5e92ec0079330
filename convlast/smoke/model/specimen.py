"""The model under test: change its precision, change its layout, run it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map, tree_map_only

from convlast.architectures.fresh import fresh
from convlast.architectures.subject import Inputs, Subject
from convlast.architectures.time_limit import NO_LIMIT, TimeLimit
from convlast.errors import ConvlastError
from convlast.layout.memory_format import strides_of
from convlast.smoke import device_health as health
from convlast.smoke.model.emulation import Emulation
from convlast.smoke.model.events import Failure, Operation, Turn
from convlast.smoke.model.outputs import Outputs, outputs_of
from convlast.smoke.model.watching import Watch, owners_of
from convlast.smoke.operands import address_of, tensors_in
from convlast.smoke.out_of_memory import is_out_of_memory, is_refusal
from convlast.smoke.precision import exact_float32, is_native, tf32

Weights: TypeAlias = Mapping[str, Callable[[], Tensor]]
"""Functions that read the converted weights with their strides, by the names of the parameters."""

Outcome: TypeAlias = Outputs | Failure
"""The outputs of a run, or why there are none."""


@dataclass
class Way:
    """One way to run the model.

    Attributes:
        samples: N of the input.
        first_of: If given, draw this many samples and use the first.
        is_autocast: Whether to run under autocast to fp16, with the module in fp32.
        is_tf32: Whether convolutions in fp32 are computed in TF32.
        is_input_converted: Whether the input is channels-last too.
        on_operation: Called for each operator.
        on_turn: Called for each module's turn.
    """

    samples: int
    first_of: int | None = None
    is_autocast: bool = False
    is_tf32: bool = False
    is_input_converted: bool = False
    on_operation: Callable[[Operation], None] | None = None
    on_turn: Callable[[Turn], None] | None = None


@dataclass
class Specimen:
    """A module of a subject on a device, in one precision and layout at a time.

    Attributes:
        subject: The model that the module is made from.
        converted: The converted weights.
        device: Where it runs.
        halvings: How many times the spatial extents of the input are halved, to save memory.
        limit: The time of the whole smoke.
    """

    subject: Subject
    converted: Weights
    device: torch.device
    halvings: int = 0
    limit: TimeLimit = NO_LIMIT
    module: nn.Module = field(init=False)
    dtype: torch.dtype = field(init=False, default=torch.float32)
    _held: dict[tuple[int, int | None], Inputs] = field(init=False, default_factory=dict)
    """Inputs in the module's precision, by `samples` and `first_of`. They are kept because drawing
    and copying them can take as long as a forward."""

    def __post_init__(self) -> None:
        """Make the module."""
        self.module = self.subject.make_module().to(self.device)

    def cast(self, dtype: torch.dtype) -> None:
        """Round parameters, buffers and inputs; the original values are lost."""
        self.module.to(dtype)
        self.dtype = dtype
        self._held = {key: _each(self._round, made) for key, made in self._held.items()}

    def lay_out(self, names: Sequence[str] | None = None) -> None:
        """Give the named parameters, or all, the converted layout; make the others contiguous."""
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
        """Return the inputs of one way as copies that the model may write to."""
        return _each(Tensor.clone, self._inputs(way))

    def _inputs(self, way: Way) -> Inputs:
        """Return the inputs of one way, not copied; `_drop` forgets those that a run wrote to."""
        made = self._hold(way.samples, way.first_of)
        return _each(_channels_last, made) if way.is_input_converted else made

    def _hold(self, samples: int, first_of: int | None = None) -> Inputs:
        key = samples, first_of
        if key not in self._held:
            drawn = self.subject.make_inputs(samples)
            if first_of is None:
                self._held[key] = _each(self._prepare, drawn)
            else:
                self._held[key] = _first_of(drawn, self._hold(first_of))
        return self._held[key]

    def _drop(self, written: Set[int]) -> None:
        """Forget the inputs that a run wrote to."""
        self._held = {
            key: made
            for key, made in self._held.items()
            if written.isdisjoint(map(address_of, tensors_in((made.args, made.kwargs))))
        }

    def owners(self) -> dict[str, str]:
        """Return the name of each weight's module, by the weight's name.

        A module that is registered twice is watched under the first of its names.
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
        args = self._hold(samples).args
        return next((list(arg.shape) for arg in args if isinstance(arg, Tensor)), None)

    def run(self, way: Way) -> Outcome:
        """Run the model once, with the same random numbers each time.

        It is a copy that runs, so that no run finds state that another left.

        Raises:
            DeviceLostError: If the device can no longer be used.
            RuntimeError: If memory ran out.
            TimeUp: If the time of the smoke is up.
        """
        self.limit.check()
        inputs, module = self._inputs(way), fresh(self.module)
        watch = Watch(
            module,
            takes_hooks=self.subject.takes_hooks,
            on_operation=way.on_operation,
            on_turn=way.on_turn,
            limit=self.limit,
        )
        try:
            with self._prepared(way), watch:
                result = self._call(module, inputs, way)
                health.wait_for(self.device)
        except ConvlastError:
            raise
        except Exception as error:
            # Raise here: a function that raised its argument would end up in a reference cycle
            # with it, which would keep the run's tensors alive until Python collects garbage.
            if is_out_of_memory(error) and not is_refusal(error):
                raise
            health.require_alive(self.device)
            return watch.failure_of(error)
        finally:
            self._drop(watch.written)
        return outputs_of(result)

    def call(self, inputs: Inputs, way: Way) -> Any:
        """Call the model in the precision of the way, without watching it or catching errors."""
        return self._call(self.module, inputs, way)

    def _call(self, module: nn.Module, inputs: Inputs, way: Way) -> Any:
        entry = getattr(module, self.subject.entry)
        with ExitStack() as stack:
            stack.enter_context(torch.no_grad())
            if self.dtype == torch.float32 and not way.is_autocast:
                stack.enter_context(tf32() if way.is_tf32 else exact_float32())
            if way.is_autocast:
                kind = self.device.type
                stack.enter_context(torch.autocast(kind, torch.float16, cache_enabled=False))
            if self.subject.entry == "forward":
                entry = module  # so that its own hooks run
            return entry(*inputs.args, **inputs.kwargs)

    @contextmanager
    def _prepared(self, way: Way) -> Iterator[None]:
        """Fix the random numbers, and emulate fp16 where it is not native."""
        with ExitStack() as stack:
            devices = [self.device] if self.device.type == "cuda" else []
            stack.enter_context(torch.random.fork_rng(devices=devices))
            self._seed()
            if not is_native(self.device) and (way.is_autocast or self.dtype != torch.float32):
                stack.enter_context(Emulation())  # type: ignore[no-untyped-call]
            yield

    def _seed(self) -> None:
        """Seed the generators that the model can draw from, and no other device's."""
        if self.device.type == "cpu":
            torch.default_generator.manual_seed(0)
        else:
            torch.manual_seed(0)

    def _weights(self) -> list[tuple[str, nn.Parameter]]:
        """Return the weights that a conversion changes, each once."""
        held = dict([*self.module.named_parameters(remove_duplicate=False)])
        return [(name, held[name]) for name in self.converted if name in held]

    def _prepare(self, drawn: Tensor) -> Tensor:
        """Halve a tensor as often as needed, and return it in the module's precision and device."""
        tensor = drawn
        if tensor.dim() == 5:
            for _ in range(self.halvings):
                depth, height, width = ((extent + 1) // 2 for extent in tensor.shape[2:])
                tensor = tensor[..., :depth, :height, :width]
            tensor = tensor.contiguous()
        return self._round(tensor).to(self.device)

    def _round(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.dtype) if tensor.is_floating_point() else tensor


def _each(change: Callable[[Tensor], Tensor], inputs: Inputs) -> Inputs:
    """Apply a function to each tensor of the inputs."""
    args, kwargs = tree_map_only(Tensor, change, (inputs.args, inputs.kwargs))
    return Inputs(args, kwargs)


def _channels_last(tensor: Tensor) -> Tensor:
    return tensor.to(memory_format=torch.channels_last_3d) if tensor.dim() == 5 else tensor


def _first_of(one: Inputs, several: Inputs) -> Inputs:
    """Return the inputs of the first of several samples; `one` has the shapes for one sample."""

    def first(single: object, every: object) -> object:
        if isinstance(single, Tensor) and isinstance(every, Tensor) and single.dim():
            return every[: single.shape[0]]
        return every

    args, kwargs = tree_map(first, (one.args, one.kwargs), (several.args, several.kwargs))
    return Inputs(args, kwargs)
