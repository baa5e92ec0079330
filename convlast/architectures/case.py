"""A checkpoint whose model is to be found and run, and the options for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from convlast.architectures.configs import Spec
from convlast.architectures.time_limit import NO_LIMIT, TimeLimit
from convlast.checkpoints.checkpoint import Checkpoint
from convlast.checkpoints.declaration import Declaration
from convlast.options import Options
from convlast.planning.plan import Plan
from convlast.progress import Progress, silent

SAMPLES = 2
"""N of the model's input; errors of the layout show only with two or more samples."""

_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Case:
    """The smoke of one file.

    Attributes:
        checkpoint: The original.
        plan: How it is converted.
        options: The options that were given.
        device: Where the smoke runs; this decides how large a model's input is.
        progress: Called with the progress.
        prefixes: The modules that an architecture may come from; None for the default ones.
        spec: The model that the files beside the checkpoint describe, from `discover`.
        time_limit: When the smoke has to end.
        declared: What the model says of each layer, by the layer's name; `find_subject` fills it as
            soon as the model is built, even if it finds no input for it.
        is_member: Whether it is one of a folder's files, not all of which `input_shape` has to fit.
    """

    checkpoint: Checkpoint
    plan: Plan
    options: Options
    device: torch.device = _CPU
    progress: Progress = silent
    prefixes: Sequence[str] | None = None
    spec: Spec | None = None
    time_limit: TimeLimit = NO_LIMIT
    declared: dict[str, Declaration] = field(default_factory=dict)
    is_member: bool = False

    @property
    def samples(self) -> int:
        """N of the model's input."""
        return self.options.input_shape[0] if self.options.input_shape else SAMPLES
