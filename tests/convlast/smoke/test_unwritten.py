"""Memory that a model allocates and does not write, of which each run may find other values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from convlast.smoke.model.readings import Readings
from convlast.smoke.model.specimen import Specimen, Way
from convlast.smoke.model.trace import Trace
from convlast.smoke.model.watching import Watch
from convlast.smoke.modes import OperatorMode
from convlast.smoke.unwritten import ALLOCATING, RESIZING, ZeroingUnwritten
from tests.subjects import CPU, converted_of, smoked, subject_of

SHAPE = (3, 6, 6, 6)


class Garbage(OperatorMode):
    """Has the allocator hand out memory whose values are beyond fp16's range, and differ."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # PyTorch's
        self._value = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run one operator."""
        before = args[0].numel() if func._schema.name in RESIZING else 0
        result = func(*args, **(kwargs or {}))
        if func._schema.name in ALLOCATING | RESIZING and result.numel():
            self._value = (self._value + 7000) % 60_000
            result.as_strided((result.untyped_storage().nbytes() // result.itemsize,), (1,))[
                before:
            ].fill_(self._value)
        return result


def resized(x: Tensor) -> Tensor:
    """Allocate nothing, then more."""
    return x.new_empty(0).resize_(x.shape)


ALLOCATED: dict[str, Callable[[Tensor], Tensor]] = {
    "empty": lambda x: torch.empty(x.shape, dtype=x.dtype),
    "empty_like": torch.empty_like,
    "empty_permuted": lambda x: torch.empty_permuted(x.shape, (0, 2, 3, 4, 1), dtype=x.dtype),
    "empty_strided": lambda x: torch.empty_strided(x.shape, x.stride(), dtype=x.dtype),
    "new_empty": lambda x: x.new_empty(x.shape),
    "new_empty_strided": lambda x: x.new_empty_strided(x.shape, x.stride()),
    "new": lambda x: x.new(x.shape),
    "resize_": resized,
    "resize_as_": lambda x: x.new_empty(0).resize_as_(x),
    "out": lambda x: torch.empty(x.shape, out=x.new_empty(0)),
}


@pytest.mark.parametrize("takes_hooks", [True, False], ids=["module", "program"])
@pytest.mark.parametrize("name", ALLOCATED)
def test_allocated_memory_is_no_activation(name: str, takes_hooks: bool) -> None:
    """What a module or an operator allocates is read only after something wrote to it."""

    class Allocating(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return ALLOCATED[name](x)

    class Padding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.room = nn.Conv3d(3, 4, 3), Allocating()

        def forward(self, x: Tensor) -> Tensor:
            x = self.conv(x)
            return cast(Tensor, self.room(x)).copy_(x)

    subject = replace(subject_of(Padding, SHAPE), takes_hooks=takes_hooks)
    readings = Readings()
    with Garbage():
        outcome = Specimen(subject, converted_of(subject), CPU).run(Way(2, on_turn=readings.note))
    assert isinstance(outcome, dict)
    read = [reading.place.name for reading in readings.taken]
    assert read == (["conv"] if takes_hooks else ["conv", "copy__1"])


@pytest.mark.parametrize("name", ALLOCATED)
def test_memory_that_is_never_written_is_the_same_in_each_run(name: str) -> None:
    """A model that reads memory that it did not write gives the same outputs in both layouts."""

    class Careless(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv3d(3, 4, 3)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            x = cast(Tensor, self.conv(x))
            return x, ALLOCATED[name](x)

    with Garbage():
        found = smoked(Careless, SHAPE)
    assert (found.smoke.status, found.faults) == ("passed", [])


def test_memory_that_is_allocated_again_is_read() -> None:
    """An address counts as unwritten no longer once an operator has returned it with values."""
    seen: list[float] = []
    watch = Watch(
        nn.Identity(),
        takes_hooks=False,
        on_turn=lambda turn: seen.extend(float(each.max()) for each in turn.outputs),
    )
    with watch:
        for _ in range(8):
            torch.empty(1000)
            torch.ones(1000)
    assert seen == [1.0] * 8


def test_what_a_resized_tensor_held_stays() -> None:
    """Only the added memory is zeroed, in a tensor with gaps too."""
    with Garbage(), ZeroingUnwritten():
        grown = torch.ones(3).resize_(5)
        spread = torch.empty_strided((2, 2), (5, 2))
    assert grown.tolist() == [1, 1, 1, 0, 0]
    assert spread.tolist() == [[0, 0], [0, 0]]


def test_allocating_is_no_permutation() -> None:
    """An operand that is taken for its shape is not read, so nothing is permuted."""

    class Making(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv3d(3, 8, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = cast(Tensor, self.conv(x))
            x.new_empty(x.shape)
            x.new_zeros(x.shape)
            torch.zeros_like(x, memory_format=torch.contiguous_format)
            return x

    subject = subject_of(Making, SHAPE)
    specimen = Specimen(subject, converted_of(subject), CPU)
    specimen.lay_out()
    trace = Trace()
    specimen.run(Way(2, on_operation=trace.note_operation, on_turn=trace.note_turn))
    assert trace.flips() == []
