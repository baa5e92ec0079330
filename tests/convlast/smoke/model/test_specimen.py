"""A model is run once for each way, on inputs that are drawn and copied once."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from convlast.architectures.subject import Inputs
from convlast.progress import silent
from convlast.smoke.model.events import Failure, ModulePlace
from convlast.smoke.model.specimen import Specimen, Way
from convlast.smoke.model.ways import Request, Ways
from convlast.smoke.out_of_memory import shrinking
from tests.subjects import CPU, converted_of, subject_of

SHAPE = (3, 6, 6, 6)


class Counting(nn.Module):
    """One convolution that records the addresses of its inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv3d(3, 4, 3)
        self.addresses: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        """Run."""
        self.addresses.append(x.data_ptr())
        return cast(Tensor, self.first(x))


class Viewing(Counting):
    """Flattens with a view, which a channels-last tensor does not allow."""

    def forward(self, x: Tensor) -> Tensor:
        """Run."""
        return super().forward(x).view(x.size(0), -1)


class Merging(Counting):
    """Views samples and channels as one dimension, which one sample allows in any layout."""

    def forward(self, x: Tensor) -> Tensor:
        """Run."""
        x = super().forward(x)
        return x.view(-1, *x.shape[2:])


class Refusing(nn.Module):
    """Raises without an operator."""

    def forward(self, x: Tensor) -> Tensor:
        """Run."""
        raise ValueError("no")


class Misshaping(nn.Module):
    """Calls an operator that raises."""

    def forward(self, x: Tensor) -> Tensor:
        """Run."""
        return x.view(7)


def specimen_of(make: Callable[[], nn.Module]) -> Specimen:
    """Return a model to run."""
    subject = subject_of(make, SHAPE)
    return Specimen(subject, converted_of(subject), CPU)


def outcome_of(specimen: Specimen, way: Way | None = None) -> Tensor:
    """Run a model that does not raise, and return its outputs."""
    outcome = specimen.run(way or Way(2))
    assert not isinstance(outcome, Failure), outcome
    return outcome["0"]


def add_through_data(x: Tensor) -> Tensor:
    """Write past autograd's count of writes."""
    x.data.add_(1)
    return x


WRITERS: dict[str, Callable[[Tensor], Tensor]] = {
    "in place": lambda x: x.add_(1),
    "through a view": lambda x: x[:, 1:].mul_(2),
    "through data": add_through_data,
    "as out": lambda x: torch.add(x, 1, out=x),
    "by index": lambda x: x.index_put_((torch.tensor([0]),), torch.tensor(5.0, dtype=x.dtype)),
    "detached": lambda x: x.detach().zero_(),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("way", [Way(2), Way(1, first_of=2)], ids=["several", "alone"])
@pytest.mark.parametrize("name", WRITERS)
def test_what_a_run_writes_to_its_input_is_not_seen_by_the_next(
    name: str, way: Way, dtype: torch.dtype
) -> None:
    """Inputs that a model wrote to are drawn again, however it wrote."""

    class Writing(Counting):
        def forward(self, x: Tensor) -> Tensor:
            WRITERS[name](x)
            return super().forward(x)

    specimen = specimen_of(Writing)
    specimen.cast(dtype)
    first, again = outcome_of(specimen, way), outcome_of(specimen, way)
    assert torch.equal(first, again)
    several, alone = outcome_of(specimen, Way(2)), outcome_of(specimen, Way(1, first_of=2))
    torch.testing.assert_close(several[:1], alone)


def test_a_model_that_writes_before_it_raises_gets_a_new_input() -> None:
    """After a run that raised, inputs that it wrote to are drawn again."""

    class Raising(Counting):
        def forward(self, x: Tensor) -> Tensor:
            x.add_(1)
            if not self.addresses:
                self.addresses.append(0)
                raise ValueError("once")
            return x.mean().reshape(1)

    specimen = specimen_of(Raising)
    pristine = specimen.inputs(Way(2)).args[0]
    assert isinstance(pristine, Tensor)
    assert isinstance(specimen.run(Way(2)), Failure)
    assert torch.equal(outcome_of(specimen), (pristine + 1).mean().reshape(1))


def test_an_input_is_drawn_once_and_not_copied() -> None:
    """Inputs are drawn and copied once, since that can take as long as a small model's forward."""
    drawn: list[int] = []
    subject = subject_of(Counting, SHAPE)

    def make_inputs(samples: int) -> Inputs:
        drawn.append(samples)
        return subject.make_inputs(samples)

    specimen = Specimen(replace(subject, make_inputs=make_inputs), converted_of(subject), CPU)
    for _ in range(3):
        specimen.run(Way(2))
        specimen.run(Way(1, first_of=2))
    assert len(set(cast(Counting, specimen.module).addresses)) == 1
    specimen.cast(torch.float16)
    specimen.run(Way(2))
    assert sorted(drawn) == [1, 2]


def test_inputs_that_are_asked_for_are_copies() -> None:
    """`inputs` returns copies that the caller may write to."""
    specimen = specimen_of(Counting)
    before = outcome_of(specimen)
    for way in (Way(2), Way(1, first_of=2), Way(2, is_input_converted=True)):
        (given,) = specimen.inputs(way).args
        assert isinstance(given, Tensor)
        given.zero_()
    assert torch.equal(outcome_of(specimen), before)


@pytest.mark.parametrize(("make", "runs"), [(Counting, 7), (Viewing, 7), (Merging, 8)])
def test_no_run_is_made_that_nobody_asks_for(make: type[Counting], runs: int) -> None:
    """Where a model raises is known from the run that does.

    One sample alone, contiguous, is run only where it decides something.
    """
    specimen = specimen_of(make)
    outcomes = Ways(specimen, Request(), silent).run()
    assert len(cast(Counting, specimen.module).addresses) == runs
    for outcome in (outcomes.autocast_converted, outcomes.converted):
        if isinstance(outcome, Failure):
            assert outcome.operator == "aten::view"
            assert outcome.line is not None
            assert ".view(" in outcome.line


@pytest.mark.parametrize("way", [Way(2), Way(2, on_turn=lambda turn: None)], ids=["", "followed"])
@pytest.mark.parametrize(("kind", "operator"), [(Refusing, None), (Misshaping, "aten::view")])
def test_the_place_is_the_innermost_module_that_raises(
    kind: type[nn.Module], operator: str | None, way: Way
) -> None:
    """The place of a failure is known with and without hooks, and if no operator raises."""

    class Outer(Counting):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Sequential(nn.ReLU(), kind())

        def forward(self, x: Tensor) -> Tensor:
            return cast(Tensor, self.inner(super().forward(x)))

    failure = specimen_of(Outer).run(way)
    assert isinstance(failure, Failure)
    assert failure.place == ModulePlace("inner.1", kind.__name__)
    assert failure.operator == operator


def test_a_run_without_room_lets_go_of_all_that_it_held() -> None:
    """A failed run's memory is free before the next run, without a garbage collection."""

    class Hungry(Counting):
        def forward(self, x: Tensor) -> Tensor:
            if x.shape[-1] > 3:
                raise RuntimeError("CUDA out of memory. (planted)")
            return super().forward(x)

    subject = subject_of(Hungry, SHAPE)
    held: list[weakref.ReferenceType[object]] = []
    alive: list[bool] = []

    def attempt(halvings: int) -> object:
        alive.extend(ref() is not None for ref in held)
        specimen = Specimen(subject, converted_of(subject), CPU, halvings)
        held.extend((weakref.ref(specimen.module), weakref.ref(specimen._hold(2).args[0])))
        return specimen.run(Way(2))

    gc.disable()
    try:
        assert shrinking(attempt, CPU)[1] == 1
    finally:
        gc.enable()
    assert alive == [False, False]


def test_the_compiler_is_not_imported() -> None:
    """A smoke does not import PyTorch's compiler, which takes more than a second."""
    script = (
        "import sys\n"
        "from tests.convlast.smoke.model.test_specimen import SHAPE, Viewing\n"
        "from tests.subjects import smoked\n"
        "assert smoked(Viewing, SHAPE).faults\n"
        "assert 'torch._dynamo' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
