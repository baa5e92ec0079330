"""All runs of a model, in an order that needs only one module and rounds it once."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter

import torch

from convlast.architectures.case import SAMPLES
from convlast.architectures.time_limit import NO_LIMIT, TimeLimit, TimeUp
from convlast.options import MemoryFormat
from convlast.progress import Progress
from convlast.smoke.model.events import Failure, Operation, Turn
from convlast.smoke.model.hints import Hints
from convlast.smoke.model.model_judgement import Runs, is_close
from convlast.smoke.model.outputs import NothingToCompare
from convlast.smoke.model.readings import Readings
from convlast.smoke.model.specimen import Outcome, Specimen, Way
from convlast.smoke.model.trace import Trace

NUMBER = 8
"""The number of runs, for the progress."""

FLOAT32, AUTOCAST, FLOAT16 = "float32", "autocast", "float16"
ONE_SAMPLE, TWO_SAMPLES = "one sample", "two samples"
CHANNELS_LAST_INPUT = "a channels-last input"
"""What is run, in words."""


@dataclass(frozen=True)
class Request:
    """The options of a whole model's smoke.

    Attributes:
        samples: N of the input; errors of the layout show only with two or more.
        tries_other: Whether to try the layout with one sample as well; with two, if N is one.
        takes_one: If the model raises with N samples, whether to run it with one.
        memory_format: The layout of the converted weights.
        limit: The time of the whole smoke.
    """

    samples: int = SAMPLES
    tries_other: bool = True
    takes_one: bool = True
    memory_format: MemoryFormat = "channels_last_3d"
    limit: TimeLimit = NO_LIMIT


@dataclass
class Observations:
    """What was observed in the main runs.

    Attributes:
        exact: Each module's reading in fp32.
        contiguous: The same in fp16.
        converted: The same in fp16 with converted weights.
        trace: How the layout changes in the converted model.
        hints: Hints about its convolutions.
    """

    exact: Readings = field(default_factory=Readings)
    contiguous: Readings = field(default_factory=Readings)
    converted: Readings = field(default_factory=Readings)
    trace: Trace = field(default_factory=Trace)
    hints: Hints = field(default_factory=Hints)

    def note_operation(self, operation: Operation) -> None:
        """Record one operator of the converted model."""
        self.trace.note_operation(operation)
        self.hints.note_operation(operation)

    def note_turn(self, turn: Turn) -> None:
        """Record one module's turn in the converted model."""
        self.converted.note(turn)
        self.trace.note_turn(turn)


@dataclass
class Ways:
    """The runs of one model.

    Attributes:
        specimen: The model; in fp16 and contiguous after all runs.
        request: What to run.
        progress: Called before each run with the number of runs before it.
        seen: What was observed in the runs with N samples.
        runs: The outcomes.
        autocast_s: How long one run under autocast took, contiguous and converted.
        left_out: The runs for which there was no time, in words.
    """

    specimen: Specimen
    request: Request
    progress: Progress
    seen: Observations = field(default_factory=Observations)
    runs: Runs = field(default_factory=Runs)
    autocast_s: tuple[float, float] | None = None
    left_out: list[str] = field(default_factory=list)
    _done: int = 0
    _slowest_s: float = 0.0

    def run(self) -> Runs:
        """Run the model in all ways, as far as there is time: in fp32, under autocast, in fp16.

        Raises:
            NothingToCompare: If it returns no floating-point tensor.
        """
        is_input_converted = self.request.memory_format == "channels_last_3d"
        self.left_out += [FLOAT32, AUTOCAST, FLOAT16, *self._other_samples()]
        self.left_out += [CHANNELS_LAST_INPUT] * is_input_converted
        try:
            self._run_in_float32()
            if isinstance(self.runs.reference, Failure):
                self.left_out.clear()
                return self.runs
            self._run_in_float16(is_input_converted=is_input_converted)
        except TimeUp:
            pass
        return self.runs

    def _run_in_float32(self) -> None:
        """Run the model in fp32, and under autocast; leave it converted."""
        runs, several = self.runs, self.request.samples
        runs.reference = self._run(Way(several, on_turn=self.seen.exact.note))
        self.left_out.remove(FLOAT32)
        if isinstance(runs.reference, Failure):
            return
        if not runs.reference:
            raise NothingToCompare
        under_autocast = Way(several, is_autocast=True)
        is_enough = self._has_time_for(4)
        if is_enough:
            runs.autocast, contiguous_s = self._time(under_autocast)
        self.specimen.lay_out()
        if isinstance(runs.autocast, dict):
            runs.autocast_converted, converted_s = self._time(under_autocast)
            self.autocast_s = contiguous_s, converted_s
        if is_enough:
            self.left_out.remove(AUTOCAST)

    def _run_in_float16(self, *, is_input_converted: bool) -> None:
        """Run the model in fp16, converted and then contiguous."""
        specimen, seen, runs, several = self.specimen, self.seen, self.runs, self.request.samples
        specimen.cast(torch.float16)
        runs.converted = self._run(
            Way(several, on_operation=seen.note_operation, on_turn=seen.note_turn)
        )
        others = self._other_samples()
        if others and self._has_time_for(2):
            if several > 1:
                runs.converted_alone = self._run(Way(1, first_of=several))
            else:
                runs.converted_two = self._run(Way(SAMPLES))
        if is_input_converted and self._has_time_for(2):
            runs.converted_input = self._run(Way(several, is_input_converted=True))
            self.left_out.remove(CHANNELS_LAST_INPUT)
        specimen.lay_out(())
        runs.contiguous = self._run(Way(several, on_turn=seen.contiguous.note))
        self.left_out.remove(FLOAT16)
        if runs.converted_alone is not None:
            runs.contiguous_alone = self._contiguous_alone(
                runs.contiguous, runs.converted, runs.converted_alone
            )
            self.left_out.remove(ONE_SAMPLE)
        if runs.converted_two is not None:
            runs.contiguous_two = self._run(Way(SAMPLES))
            self.left_out.remove(TWO_SAMPLES)

    def _contiguous_alone(
        self, contiguous: Outcome, converted: Outcome, converted_alone: Outcome
    ) -> Outcome | None:
        """Return the contiguous outputs for the first sample alone, without a run if possible.

        If the model treats each sample separately, they are the first sample of the batch's
        outputs. If those differ from the converted run's, only another run shows which is right.
        None if they are not needed: the contiguous model raises, or the converted one raises as it
        does with several samples.
        """
        if isinstance(contiguous, Failure):
            return None
        if isinstance(converted_alone, Failure) and converted_alone == converted:
            return None
        if isinstance(converted_alone, dict):
            first = {name: output[:1] for name, output in contiguous.items() if output.dim()}
            if is_close(first, converted_alone):
                return first
        return self._run(Way(1, first_of=self.request.samples))

    def _other_samples(self) -> list[str]:
        """Return what other number of samples is tried, in words."""
        if not self.request.tries_other:
            return []
        return [ONE_SAMPLE if self.request.samples > 1 else TWO_SAMPLES]

    def _has_time_for(self, runs: int) -> bool:
        """Say whether there is time for some runs, each twice as slow as the slowest so far."""
        return self.request.limit.remaining_s() > 2 * runs * self._slowest_s

    def _time(self, way: Way) -> tuple[Outcome, float]:
        """Run the model in one way; return the outcome and the seconds that it took."""
        began_s = perf_counter()
        outcome = self._run(way)
        return outcome, perf_counter() - began_s

    def _run(self, way: Way) -> Outcome:
        self.progress("smoke", min(self._done, NUMBER - 1), NUMBER)
        self._done += 1
        began_s = perf_counter()
        try:
            return self.specimen.run(way)
        finally:
            self._slowest_s = max(self._slowest_s, perf_counter() - began_s)
