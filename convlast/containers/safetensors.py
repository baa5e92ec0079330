"""The file that the safetensors library writes."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from convlast.checkpoints import manifest
from convlast.checkpoints.guard.safetensors_header import METADATA, read_header
from convlast.checkpoints.metadata import authored
from convlast.containers.container import WritableContainer
from convlast.options import Limits

if TYPE_CHECKING:
    from convlast.checkpoints.checkpoint import Checkpoint
    from convlast.report import Survival
    from convlast.writing.request import WriteRequest, Written

_MAX_HEADER_BYTES = 1 << 40


class Safetensors(WritableContainer):
    """A JSON header, and contiguous values: one flat dict of distinct tensors."""

    name = "safetensors"
    extension = ".safetensors"
    needs_extension = True
    holds_strides = False
    holds_objects = False

    def begins(self, head: bytes) -> bool:
        """Return whether there is a length, and then a JSON object."""
        is_object = len(head) > 8 and head[8:9] == b"{"
        return is_object and struct.unpack("<Q", head[:8])[0] < _MAX_HEADER_BYTES

    def open(self, path: Path, limits: Limits) -> Checkpoint:
        """Open a file, as the base class says."""
        from convlast.checkpoints.safetensors import open_safetensors

        return open_safetensors(path, limits)

    def manifest_of(self, path: Path) -> manifest.Manifest | None:
        """Return the manifest in the header."""
        header, _ = read_header(path, Limits())
        metadata = header.get(METADATA)
        return manifest.in_metadata(metadata) if isinstance(metadata, dict) else None

    def records_of(self, checkpoint: Checkpoint) -> Mapping[str, object]:
        """Return the metadata that the file's author wrote."""
        return authored(checkpoint.metadata)

    def write(self, request: WriteRequest) -> Written:
        """Write an artifact, as the base class says."""
        from convlast.writing.safetensors import write_safetensors

        return write_safetensors(request)

    def reload(self, artifact: Path, original: Checkpoint, limits: Limits) -> Checkpoint:
        """Open an artifact again: the library's own loader would read all of it at once."""
        return self.open(artifact, limits)

    def survival(self, original: Checkpoint) -> Survival:
        """Return that plain loading gives contiguous tensors."""
        from convlast.report import Survival

        return Survival(
            route="safetensors.torch.load_file(path)",
            survives=False,
            always_lost=True,
            message="safetensors holds no strides. Use convlast.load or convlast.load_into.",
        )

    def loading_code(self, original: Checkpoint, *, has_layout: bool) -> str:
        """Return the code for a model that is built already."""
        if not has_layout:
            return "model.load_state_dict(safetensors.torch.load_file({name!r}))"
        return "convlast.load_into(model, {name!r})  # a plain load gives contiguous weights"
