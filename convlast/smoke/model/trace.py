"""The layout of each activation in a forward, which modules change it, and what that costs.

A permutation is an operator, not a view, whose 5-D result has another memory order than one of its
5-D operands: it reads the operand in one order and writes in the other. Weights do not count.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor

from convlast.report.smoke import Flip, Permutations, TraceStep
from convlast.smoke.layout import order_of
from convlast.smoke.model.events import ModulePlace, Operation, Turn
from convlast.smoke.operands import tensors_in
from convlast.smoke.unwritten import ALLOCATING

CONVOLUTIONS = frozenset(
    f"aten::{name}" for name in ("convolution", "_convolution", "conv3d", "conv_transpose3d")
)
"""The convolution operators; their second operand is the weight."""

_MAKING = frozenset(
    f"aten::{name}"
    for name in (
        "full_like",
        "new_full",
        "new_ones",
        "new_zeros",
        "ones_like",
        "rand_like",
        "randint_like",
        "randn_like",
        "zeros_like",
    )
)
"""The operators that take an operand for its shape alone, besides those of `unwritten`."""


class Permutation(NamedTuple):
    """The permutations of one operator in one module.

    Attributes:
        module: The module, by name.
        operator: PyTorch's name for the operator.
        before: The layout of the operands that it permutes.
        after: The layout of its result.
    """

    module: str
    operator: str
    before: str
    after: str


@dataclass(frozen=True)
class _Permuting:
    """One operator that permutes.

    Attributes:
        place: The module it is in.
        operator: PyTorch's name for it.
        before: The layout of the operands that it permutes.
        after: The layout of its result.
        moved: The bytes of these operands.
        is_convolution: Whether it is a convolution, which permutes its input to the layout it
            runs in.
    """

    place: ModulePlace
    operator: str
    before: str
    after: str
    moved: int
    is_convolution: bool


@dataclass(frozen=True)
class _Event:
    """A module's turn, or an operator that permutes in a module's own code."""

    place: ModulePlace
    before: str
    after: str
    operator: str | None = None


@dataclass
class Trace:
    """How the layout changes in one forward.

    Attributes:
        permuting: The operators that permute.
        events: Modules' turns and these operators, in the order of execution.
    """

    permuting: list[_Permuting] = field(default_factory=list)
    events: list[_Event] = field(default_factory=list)
    _is_first_converted: bool | None = None

    def note_operation(self, operation: Operation) -> None:
        """Record one operator."""
        output = convolved(operation)
        if output is not None and self._is_first_converted is None:
            self._is_first_converted = order_of(output) == "channels_last_3d"
        if permutation := permutation_of(operation):
            before, after = permutation.before, permutation.after
            moved = sum(map(_bytes, permuted_operands(operation)))
            is_convolution = output is not None
            found = _Permuting(
                operation.place, operation.name, before, after, moved, is_convolution
            )
            self.permuting.append(found)
            self.events.append(_Event(operation.place, before, after, operation.name))

    def note_turn(self, turn: Turn) -> None:
        """Record one module's turn; for the first 5-D activations, else the first 4-D ones.

        A module that takes no such activations and returns none, such as the embedding of a time
        step, is no part of the chain.
        """
        source, output = _activation(turn.inputs), _activation(turn.outputs)
        if source is None or output is None or {source.dim(), output.dim()}.isdisjoint({4, 5}):
            return
        self.events.append(_Event(turn.place, _layout_of(source), _layout_of(output)))

    @property
    def permutations(self) -> Permutations:
        """The number and bytes of permutations, and the best case: one, at the first convolution.

        If the first convolution is not converted, or its input has the same order in both layouts,
        the best case is none.
        """
        entrance = self._entrance
        return Permutations(
            number=len(self.permuting),
            bytes=sum(found.moved for found in self.permuting),
            best_number=0 if entrance is None else 1,
            best_bytes=0 if entrance is None else entrance.moved,
        )

    def flips(self) -> list[Flip]:
        """Return the operators that permute, except the first convolution, in execution order."""
        flips: dict[tuple[ModulePlace, str, str, str], Flip] = {}
        breaker: ModulePlace | None = None
        for found in self.permuting:
            if found is self._entrance:
                continue
            is_return = found.is_convolution and found.after == "channels_last_3d"
            key = found.place, found.operator, found.before, found.after
            flip = flips.setdefault(
                key,
                Flip(
                    module=found.place.name,
                    kind=found.place.kind,
                    operator=found.operator,
                    input_memory_format=found.before,
                    output_memory_format=found.after,
                    cause=breaker.name if is_return and breaker else None,
                    times=0,
                ),
            )
            flip.times += 1
            flip.bytes += found.moved
            if found.after == "contiguous_format":
                breaker = found.place
        return list(flips.values())

    def steps(self) -> list[TraceStep]:
        """Return the chain of modules in execution order; repeated turns of a module are counted.

        A permutation in the code of a module that contains others is a step of its own.
        """
        permuting = {found.place for found in self.permuting}
        having_turns = {event.place for event in self.events if event.operator is None}
        steps: dict[_Event, TraceStep] = {}
        for event in self.events:
            if event.operator is not None and event.place in having_turns:
                continue
            step = steps.setdefault(
                event,
                TraceStep(
                    module=event.place.name,
                    kind=event.operator or event.place.kind,
                    input_memory_format=event.before,
                    output_memory_format=event.after,
                    permutes=event.place in permuting,
                    calls=0,
                ),
            )
            step.calls += 1
        return list(steps.values())

    @property
    def _entrance(self) -> _Permuting | None:
        """The permutation at the first convolution, which cannot be avoided."""
        if not self._is_first_converted or not self.permuting:
            return None
        first = self.permuting[0]
        return first if first.is_convolution else None


def convolved(operation: Operation) -> Tensor | None:
    """Return the output of a 3-D convolution, (N, C, D, H, W); None for any other operator."""
    if operation.name not in CONVOLUTIONS:
        return None
    return next(_volumes(operation.outputs), None)


def permuted_operands(operation: Operation) -> list[Tensor]:
    """Return the 5-D operands in another memory order than the result.

    Weights do not count, nor do operands that are taken for their shape alone.
    """
    output = next(_volumes(operation.outputs), None)
    if operation.is_view or output is None or operation.name in ALLOCATING | _MAKING:
        return []
    operands = operation.args[:1] if operation.name in CONVOLUTIONS else operation.args
    orders = {"channels_last_3d", "contiguous_format"}
    return [part for part in _volumes(operands) if {order_of(part), order_of(output)} == orders]


def permutation_of(operation: Operation) -> Permutation | None:
    """Return what an operator permutes; None if it does not."""
    if not (odd := permuted_operands(operation)):
        return None
    after = order_of(next(_volumes(operation.outputs)))
    return Permutation(operation.place.name, operation.name, order_of(odd[0]), after)


def permutation_by(flip: Flip) -> Permutation:
    """Return what a flip of the report permutes."""
    before, after = flip.input_memory_format, flip.output_memory_format
    return Permutation(flip.module, flip.operator, before, after)


def _activation(values: Sequence[Tensor]) -> Tensor | None:
    """Return the first 5-D tensor; if there is none the first 4-D one, or else the first one."""
    filled = [value for value in values if value.numel()]
    by_rank = [value for dim in (5, 4) for value in filled if value.dim() == dim]
    return next(iter(by_rank or filled), None)


def _layout_of(activation: Tensor) -> str:
    """Name the order of a 5-D tensor, or the number of dimensions of any other."""
    return order_of(activation) if activation.dim() == 5 else f"{activation.dim()}d"


def _volumes(values: Sequence[Any]) -> Iterator[Tensor]:
    """Return the 5-D tensors among the operands or the results of an operator."""
    return (value for value in tensors_in(tuple(values)) if value.dim() == 5 and value.numel())


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.itemsize
