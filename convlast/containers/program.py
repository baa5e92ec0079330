"""What both kinds of programs have in common."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from convlast.checkpoints import manifest
from convlast.checkpoints.guard.zip_directory import read_directory
from convlast.containers.container import WritableContainer
from convlast.options import Limits

if TYPE_CHECKING:
    from convlast.checkpoints.checkpoint import Checkpoint
    from convlast.report import Survival
    from convlast.writing.request import WriteRequest, Written


class Program(WritableContainer):
    """An archive with code in it, which stays of its kind.

    Attributes:
        route: How PyTorch loads it.
    """

    holds_code = True
    route: ClassVar[str]

    def manifest_of(self, path: Path) -> manifest.Manifest | None:
        """Return the manifest in the archive."""
        return manifest.in_archive(read_directory(path, Limits(), is_program=True))

    def write(self, request: WriteRequest) -> Written:
        """Write an artifact, as the base class says."""
        from convlast.writing.program_archive import write_program

        return write_program(request, self.extension)

    def reload(self, artifact: Path, original: Checkpoint, limits: Limits) -> Checkpoint:
        """Open an artifact again. `tensors_by_torch` is the independent half of its proof."""
        return self.open(artifact, limits)

    def survival(self, original: Checkpoint) -> Survival:
        """Return that the proof loaded the program with PyTorch and found each stride."""
        from convlast.report import Survival

        return Survival(
            route=self.route,
            survives=True,
            message="Tried on the whole artifact: every stride is there.",
        )
