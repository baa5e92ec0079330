"""What is to be written, and what was."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import torch

from convlast.bytes.digest import FilePart
from convlast.checkpoints.checkpoint import Checkpoint
from convlast.planning.plan import Plan
from convlast.progress import Progress
from convlast.writing.readback import Match

Follow: TypeAlias = Callable[[Path, Iterable[FilePart]], object]
"""Called with the file and its parts, which may be read while it is written. Whoever reads them has
to check the CRCs that they claim."""


@dataclass(frozen=True)
class WriteRequest:
    """An artifact to write.

    Attributes:
        checkpoint: The source. The plan was applied to it, so its tensors have their new strides
            and dtypes.
        plan: What is converted.
        folder: Where the file is made.
        device: Where weights are permuted.
        progress: Called with the progress.
        follow: Called with the file and its parts.
    """

    checkpoint: Checkpoint
    plan: Plan
    folder: Path
    device: torch.device
    progress: Progress
    follow: Follow


@dataclass(frozen=True)
class Written:
    """A file that was written.

    Attributes:
        path: Where it is.
        is_unchanged: Whether it is the input, byte for byte.
        matches: The parts that were read back and equal the input's.
    """

    path: Path
    is_unchanged: bool = False
    matches: frozenset[Match] = frozenset()
