"""A checkpoint, and what is asked of it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from convlast.checkpoints import Checkpoint
from convlast.options import Options
from convlast.planning.plan import Plan


@dataclass(frozen=True)
class Case:
    """What a model is looked for.

    Attributes:
        checkpoint: The original.
        plan: What is done to it.
        options: As asked for.
        device: Where the model will run.
    """

    checkpoint: Checkpoint
    plan: Plan
    options: Options
    device: torch.device
