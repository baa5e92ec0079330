"""A model is run once for each way, on inputs that are drawn and copied once."""

from __future__ import annotations

import gc
import subprocess
import sys
import warnings
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar, cast

import pytest
import torch
from torch import Tensor, nn

from convlast.architectures.subject import Inputs
from convlast.architectures.time_limit import TimeLimit, TimeUp
from convlast.progress import silent
from convlast.smoke.model.events import Failure, ModulePlace
from convlast.smoke.model.specimen import Specimen, Way
from convlast.smoke.model.ways import Request, Ways
from convlast.smoke.out_of_memory import shrinking
from tests.subjects import CPU, converted_of, smoked, subject_of

SHAPE = (3, 6, 6, 6)


class Counting(nn.Module):
    """One convolution that records the addresses of its inputs; copies of it record them too."""

    addresses: ClassVar[list[int]] = []

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv3d(3, 4, 3)
        self.addresses.clear()

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


class Remembering(Counting):
    """Keeps state from one call for the next, in all ways."""

    def __init__(self) -> None:
        super().__init__()
        self.last: Tensor | None = None
        self.kept: list[Tensor] = []
        self.register_buffer("total", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Run; the result depends on the state."""
        x = super().forward(x)
        past = len(self.kept) + self.get_buffer("total") + (0 if self.last is None else 1)
        self.last = x
        self.kept.append(x)
        self.get_buffer("total").add_(1)
        return x + past


class Chunking(Remembering):
    """Raises half-way when it is called in channels-last, with state left."""

    def forward(self, x: Tensor) -> Tensor:
        """Run."""
        x = super().forward(x)
        return x.view(x.size(0), -1)


def scripted(make: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """Return a function that makes a TorchScript program of a module."""

    def made() -> nn.Module:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch deprecates it, and files of it are there
            return cast(nn.Module, torch.jit.script(make()))

    return made


class Counted(nn.Module):
    """Adds how many times it has run."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv3d(3, 4, 3)
        self.total: Tensor
        self.register_buffer("total", torch.zeros(1))
        self.times = 0

    def forward(self, x: Tensor) -> Tensor:
        """Run."""
        self.times += 1
        self.total += 1
        return self.first(x) + self.total + self.times  # type: ignore[no-any-return]


@pytest.mark.parametrize("make", [Remembering, scripted(Counted)], ids=["module", "program"])
def test_no_run_finds_the_state_of_another(make: Callable[[], nn.Module]) -> None:
    """A model that remembers its last call gives the same each time, and keeps its weights."""
    specimen = specimen_of(make)
    first = outcome_of(specimen)
    assert torch.equal(outcome_of(specimen), first)
    specimen.lay_out()
    torch.testing.assert_close(outcome_of(specimen), first)


def test_an_exported_program_that_counts_its_runs_is_the_same_each_time() -> None:
    """Buffers that an exported program writes to are copied too."""

    class Buffered(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv3d(3, 4, 3)
            self.register_buffer("total", torch.zeros(1))

        def forward(self, x: Tensor) -> Tensor:
            self.get_buffer("total").add_(1)
            return cast(Tensor, self.first(x)) + self.get_buffer("total")

    program = torch.export.export(Buffered().eval(), (torch.zeros(2, *SHAPE),))
    subject = replace(
        subject_of(Buffered, SHAPE), make_module=lambda: program.module(), takes_hooks=False
    )
    specimen = Specimen(subject, {}, CPU)
    assert torch.equal(outcome_of(specimen), outcome_of(specimen))


def test_a_run_that_raises_leaves_no_state_to_the_next() -> None:
    """Only the layout is at fault, though the converted model raised half-way."""
    faults = smoked(Chunking, SHAPE).faults
    assert {fault.blame for fault in faults} == {"layout"}


def test_a_run_ends_when_the_time_is_up() -> None:
    """The forward that exceeds the limit ends at its next operator."""
    subject = subject_of(Counting, SHAPE)
    specimen = Specimen(subject, {}, CPU, limit=TimeLimit.of(0))
    with pytest.raises(TimeUp):
        specimen.run(Way(2))

    class Dawdling(Counting):
        def forward(self, x: Tensor) -> Tensor:
            while True:
                x = x + 1

    specimen = Specimen(subject_of(Dawdling, SHAPE), {}, CPU, limit=TimeLimit.of(0.05))
    with pytest.raises(TimeUp):
        specimen.run(Way(2))


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
    assert len(set(Counting.addresses)) == 1
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
    assert len(Counting.addresses) == runs
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
