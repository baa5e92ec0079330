"""The archive that `torch.export.save` writes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from pathlib import Path
from typing import TYPE_CHECKING

from convlast.containers.program import Program
from convlast.options import Limits

if TYPE_CHECKING:
    import torch

    from convlast.checkpoints.checkpoint import Checkpoint

_GRAPH = re.compile(r"models/[^/]+\.json")
COMPILED = "data/aotinductor/"
"""Where a package has code that is compiled."""


class ExportedProgramArchive(Program):
    """A graph and its tensors."""

    name = "program"
    extension = ".pt2"
    route = "torch.export.load(path)"

    def has_members(self, names: Set[str]) -> bool:
        """Return whether there is a member that PyTorch writes now, or wrote until 2.6.

        A package that holds compiled code alone has the first as well.
        """
        if "archive_format" in names:
            is_compiled = any(name.startswith(COMPILED) for name in names)
            return not is_compiled or any(_GRAPH.fullmatch(name) for name in names)
        return "serialized_exported_program.json" in names

    def open(self, path: Path, limits: Limits) -> Checkpoint:
        """Open a file, as the base class says."""
        from convlast.checkpoints.programs.exported_program import open_exported_program

        return open_exported_program(path, limits)

    def tensors_by_torch(self, artifact: Path) -> Mapping[str, torch.Tensor]:
        """Return the tensors that `torch.export.load` finds. This runs the program."""
        from convlast.containers.reloading import tensors_of_exported_program

        return tensors_of_exported_program(artifact)

    def loading_code(self, original: Checkpoint, *, has_layout: bool) -> str:
        """Return the code for the whole program."""
        return "model = torch.export.load({name!r}).module()"
