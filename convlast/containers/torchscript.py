"""The archive that `torch.jit.save` writes."""

from __future__ import annotations

from collections.abc import Mapping, Set
from pathlib import Path
from typing import TYPE_CHECKING

from convlast.containers.container import VERSIONS
from convlast.containers.program import Program
from convlast.options import Limits

if TYPE_CHECKING:
    import torch

    from convlast.checkpoints.checkpoint import Checkpoint


class TorchScriptArchive(Program):
    """A program and its tensors."""

    name = "torchscript"
    route = "torch.jit.load(path)"

    def has_members(self, names: Set[str]) -> bool:
        """Return whether there are constants beside a pickle, and the version of both."""
        has_pickles = {"data.pkl", "constants.pkl"} <= names
        return has_pickles and not names.isdisjoint(VERSIONS)

    def open(self, path: Path, limits: Limits) -> Checkpoint:
        """Open a file, as the base class says."""
        from convlast.checkpoints.programs.torchscript import open_torchscript

        return open_torchscript(path, limits)

    def tensors_by_torch(self, artifact: Path) -> Mapping[str, torch.Tensor]:
        """Return the tensors that `torch.jit.load` finds. This runs the program."""
        from convlast.containers.reloading import tensors_of_script

        return tensors_of_script(artifact)

    def loading_code(self, original: Checkpoint, *, has_layout: bool) -> str:
        """Return the code for the whole program."""
        return "model = torch.jit.load({name!r})"
