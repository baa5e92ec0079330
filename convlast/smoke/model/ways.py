"""All runs of a model, in an order that needs only one module and rounds it once."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter

import torch

from convlast.options import MemoryFormat
from convlast.progress import Progress
from convlast.smoke.model.events import Failure, Operation, Turn
from convlast.smoke.model.hints import Hints
from convlast.smoke.model.model_judgement import Runs, is_close
from convlast.smoke.model.readings import Readings
from convlast.smoke.model.specimen import Outcome, Specimen, Way
from convlast.smoke.model.trace import Trace

NUMBER = 8
"""The number of runs, for the progress."""


@dataclass(frozen=True)
class Request:
    """The options of a whole model's smoke.

    Attributes:
        samples: N of the larger input; errors of the layout show only with two or more.
        needs_batches: Whether faults count that occur only with more than one sample.
        memory_format: The layout of the converted weights.
    """

    samples: int = 2
    needs_batches: bool = True
    memory_format: MemoryFormat = "channels_last_3d"


@dataclass
class Observations:
    """What was observed in the runs with the larger input.

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
        progress: Called before each run.
        autocast_s: How long one run under autocast took, contiguous and converted.
    """

    specimen: Specimen
    request: Request
    progress: Progress
    seen: Observations = field(default_factory=Observations)
    autocast_s: tuple[float, float] | None = None
    _done: int = 0

    def run(self) -> Runs:
        """Run the model in all ways: in fp32, under autocast, then in fp16."""
        specimen, seen, several = self.specimen, self.seen, self.request.samples
        reference = self._run(Way(several, on_turn=seen.exact.note))
        if isinstance(reference, Failure):
            return Runs(reference, reference)
        under_autocast = Way(several, is_autocast=True)
        autocast, contiguous_s = self._time(under_autocast)
        specimen.lay_out()
        autocast_converted = None
        if isinstance(autocast, dict):
            autocast_converted, converted_s = self._time(under_autocast)
            self.autocast_s = contiguous_s, converted_s
        specimen.cast(torch.float16)
        converted = self._run(
            Way(several, on_operation=seen.note_operation, on_turn=seen.note_turn)
        )
        converted_alone = self._run(Way(1, first_of=several))
        converted_input = None
        if self.request.memory_format == "channels_last_3d":
            converted_input = self._run(Way(several, is_input_converted=True))
        specimen.lay_out(())
        contiguous = self._run(Way(several, on_turn=seen.contiguous.note))
        contiguous_alone = self._contiguous_alone(contiguous, converted, converted_alone)
        return Runs(
            reference=reference,
            contiguous=contiguous,
            converted=converted,
            converted_input=converted_input,
            autocast=autocast,
            autocast_converted=autocast_converted,
            contiguous_alone=contiguous_alone,
            converted_alone=converted_alone,
        )

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

    def _time(self, way: Way) -> tuple[Outcome, float]:
        """Run the model in one way; return the outcome and the seconds that it took."""
        began_s = perf_counter()
        outcome = self._run(way)
        return outcome, perf_counter() - began_s

    def _run(self, way: Way) -> Outcome:
        self._done += 1
        self.progress("smoke", self._done, NUMBER)
        return self.specimen.run(way)
