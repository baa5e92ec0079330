"""A checkpoint whose model is looked for and run, and what is asked of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from convlast.architectures.configs import Spec
from convlast.checkpoints.checkpoint import Checkpoint
from convlast.options import Options
from convlast.planning.plan import Plan
from convlast.progress import Progress, silent

SAMPLES = 2
"""N of the model's input; what breaks on layouts breaks from two on."""

_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Case:
    """What the smoke of one file is about.

    Attributes:
        checkpoint: The original.
        plan: What is done to it.
        options: What was asked for.
        device: Where it runs, which decides how large a model's input is.
        progress: Told how far it is.
        prefixes: The modules that an architecture may come from; None for the default ones.
        spec: What the files beside the checkpoint say of its model, from `discover`.
    """

    checkpoint: Checkpoint
    plan: Plan
    options: Options
    device: torch.device = _CPU
    progress: Progress = silent
    prefixes: Sequence[str] | None = None
    spec: Spec | None = None

    @property
    def asked_samples(self) -> int:
        """N of the input that is asked for."""
        return self.options.input_shape[0] if self.options.input_shape else SAMPLES

    @property
    def samples(self) -> int:
        """N of the input that is run."""
        return max(SAMPLES, self.asked_samples)
