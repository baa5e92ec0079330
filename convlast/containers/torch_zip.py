"""The zip file that `torch.save` writes."""

from __future__ import annotations

from collections.abc import Mapping, Set
from pathlib import Path
from typing import TYPE_CHECKING

from convlast.checkpoints import manifest
from convlast.checkpoints.guard.zip_directory import read_directory
from convlast.containers.container import VERSIONS, WritableContainer
from convlast.options import Limits

if TYPE_CHECKING:
    from convlast.checkpoints.checkpoint import Checkpoint
    from convlast.report import Survival
    from convlast.writing.request import WriteRequest, Written

_STATE_DICT = "state_dict = torch.load({name!r}, weights_only=True){wrapper}\n"
_KEEPING = (
    "model.load_state_dict(state_dict, assign=True)  # without assign=True the layout is lost"
)
_PLAIN = "model.load_state_dict(state_dict)"
_MORE_THAN_TENSORS = (
    "convlast.load_into(model, {name!r})  # the file needs more than "
    "torch.load's weights_only=True allows"
)
_MODULE = "model = convlast.load({name!r})  # or torch.load with weights_only=False"


class TorchZip(WritableContainer):
    """`torch.save` since PyTorch 1.6: a pickle, and a member for each storage."""

    name = "torch"

    def has_members(self, names: Set[str]) -> bool:
        """Return whether there is a pickle, and the version without which PyTorch reads none."""
        return "data.pkl" in names and not names.isdisjoint(VERSIONS)

    def open(self, path: Path, limits: Limits) -> Checkpoint:
        """Open a file, as the base class says."""
        from convlast.checkpoints.torch_zip import open_torch_zip

        return open_torch_zip(path, limits)

    def manifest_of(self, path: Path) -> manifest.Manifest | None:
        """Return the manifest in the archive."""
        return manifest.in_archive(read_directory(path, Limits()))

    def records_of(self, checkpoint: Checkpoint) -> Mapping[str, object]:
        """Return the bytes of each member that torch itself does not write."""
        from convlast.writing.torch_zip import WRITTEN_BY_TORCH

        archive = checkpoint.archive
        if archive is None:
            return {}
        return {
            name: archive.read(name)
            for name in archive.members
            if name not in WRITTEN_BY_TORCH and not name.startswith("data/")
        }

    def write(self, request: WriteRequest) -> Written:
        """Write an artifact, as the base class says."""
        from convlast.writing.torch_zip import write_torch

        return write_torch(request)

    def reload(self, artifact: Path, original: Checkpoint, limits: Limits) -> Checkpoint:
        """Load an artifact with `torch.load`, its data mapped and not read."""
        from convlast.containers.reloading import reload_torch

        return reload_torch(artifact, original.asks_for)

    def survival(self, original: Checkpoint) -> Survival:
        """Return what `torch.load` does to the layout."""
        allowed = ", with its classes in torch.serialization.safe_globals" * bool(original.asks_for)
        from convlast.report import Survival

        return Survival(
            route="torch.load(path, weights_only=True, mmap=True)",
            survives=True,
            message=f"Tried on the whole artifact{allowed}: every stride is there.",
        )

    def loading_code(self, original: Checkpoint, *, has_layout: bool) -> str:
        """Return the code for a state dict, for a module, or for a file with other classes."""
        from torch import nn

        if not original.asks_for:
            return _STATE_DICT + (_KEEPING if has_layout else _PLAIN)
        return _MODULE if isinstance(original.root, nn.Module) else _MORE_THAN_TENSORS
